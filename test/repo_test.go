package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	root   = ".."
	module = "gorelay"
	easygo = "github.com/mailru/easygo"
)

// source is one Go file of the repository.
type source struct {
	name    string // slash-separated path from the root
	text    string
	syntax  *ast.File
	imports []string
}

func (s *source) dir() string  { return path.Dir(s.name) }
func (s *source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

// sources reads every Go file of the repository.
func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(p, ".go"):
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		s := &source{name: filepath.ToSlash(name), text: string(text)}
		if s.syntax, err = parser.ParseFile(token.NewFileSet(), s.name, text, parser.ParseComments); err != nil {
			return err
		}
		for _, i := range s.syntax.Imports {
			s.imports = append(s.imports, strings.Trim(i.Path.Value, `"`))
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d Go files found under %s", len(all), root)
	}
	return all
}

// under reports whether the import path is pkg or a package below it.
func under(imported, pkg string) bool {
	return imported == pkg || strings.HasPrefix(imported, pkg+"/")
}

// reach returns every package that the non-test files of pkg import, by way
// of the module's own packages too, each with the file that imports it.
func reach(all []*source, pkg string) map[string]string {
	found := map[string]string{}
	for todo := []string{pkg}; len(todo) > 0; todo = todo[1:] {
		for _, s := range all {
			if s.isTest() || path.Join(module, s.dir()) != todo[0] {
				continue
			}
			for _, i := range s.imports {
				if _, seen := found[i]; seen {
					continue
				}
				found[i] = s.name
				if under(i, module) {
					todo = append(todo, i)
				}
			}
		}
	}
	return found
}

// TestImportsRunOneWay holds the rooms apart: cmd/relay knows api and engine,
// api knows engine, engine knows neither formats nor HTTP nor files, and store
// knows nobody.
func TestImportsRunOneWay(t *testing.T) {
	all := sources(t)
	for _, rule := range []struct {
		pkg   string
		needs []string // so that a moved package does not pass unseen
		never []string
	}{
		{"engine", []string{"github.com/gobwas/ws"}, []string{
			module + "/api", module + "/cmd", module + "/bench", module + "/internal", module + "/store",
			"encoding/json", "net/http", "github.com/valyala/fasthttp", "github.com/valyala/fastjson",
		}},
		{"api", []string{module + "/engine"}, []string{module + "/cmd", module + "/bench", module + "/internal", module + "/store"}},
		{"store", []string{"go.etcd.io/bbolt"}, []string{module + "/api", module + "/engine", module + "/cmd", module + "/bench", module + "/internal"}},
		{"cmd/relay", []string{module + "/api", module + "/engine"}, []string{module + "/bench", module + "/internal"}},
		{"internal/wsclient", nil, []string{module + "/engine", module + "/api", module + "/cmd", "github.com/gobwas/ws"}},
	} {
		found := reach(all, path.Join(module, rule.pkg))
		for _, want := range rule.needs {
			if _, ok := found[want]; !ok {
				t.Errorf("%s does not import %s: has it moved?", rule.pkg, want)
			}
		}
		for imported, by := range found {
			if slices.ContainsFunc(rule.never, func(p string) bool { return under(imported, p) }) {
				t.Errorf("%s must not reach %s, which %s imports", rule.pkg, imported, by)
			}
		}
	}
	for _, s := range all {
		for _, i := range s.imports {
			switch {
			case under(i, easygo) && s.name != "engine/poller.go":
				t.Errorf("%s imports %s: only engine/poller.go may", s.name, i)
			case under(i, module+"/cmd"):
				t.Errorf("%s imports a command", s.name)
			case under(s.dir(), "engine") && under(i, module+"/api"):
				t.Errorf("%s imports api, be it a test", s.name)
			case under(s.dir(), "bench") && (under(i, module+"/api") || under(i, module+"/engine")):
				t.Errorf("%s imports %s: bench speaks only the wire", s.name, i)
			}
		}
	}
	if !slices.ContainsFunc(all, func(s *source) bool {
		return s.name == "engine/poller.go" && slices.ContainsFunc(s.imports, func(i string) bool { return under(i, easygo) })
	}) {
		t.Error("engine/poller.go does not import easygo: has it moved?")
	}
}

// TestEveryPackageHasADoc wants one package comment, that begins as go doc
// expects: "Package x", for a program "Command x" or its name.
func TestEveryPackageHasADoc(t *testing.T) {
	docs, commands := map[string][]string{}, map[string]bool{} // by folder
	for _, s := range sources(t) {
		if s.isTest() && s.dir() != "test" {
			continue
		}
		commands[s.dir()] = s.syntax.Name.Name == "main"
		if s.syntax.Doc != nil {
			docs[s.dir()] = append(docs[s.dir()], s.syntax.Doc.Text())
		}
	}
	for dir := range commands {
		texts := docs[dir]
		base := path.Base(dir)
		begin := []string{"Package " + base + " "}
		if commands[dir] {
			begin = []string{"Command " + base + " ", strings.ToUpper(base[:1]) + base[1:] + " "}
		}
		if len(texts) != 1 || !slices.ContainsFunc(begin, func(b string) bool { return strings.HasPrefix(texts[0], b) }) {
			t.Errorf("%s: want one package comment that begins with one of %q, got %q", dir, begin, texts)
		}
	}
}

// TestNothingIsLeftOpen: what is not done belongs into the tracker.
func TestNothingIsLeftOpen(t *testing.T) {
	marker := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	for _, s := range sources(t) {
		for n, line := range strings.Split(s.text, "\n") {
			if marker.MatchString(line) {
				t.Errorf("%s:%d: %s", s.name, n+1, strings.TrimSpace(line))
			}
		}
	}
}

// TestNoHiddenStart: nothing runs because a package was imported.
func TestNoHiddenStart(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function", s.name)
			}
		}
	}
}
