package test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"gorelay/internal/wsclient"
)

// openapiFile describes the HTTP surface.
const openapiFile = root + "/api/openapi.yaml"

// methods are what a path item of OpenAPI 3.1 may hold as operations.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// otherMethods is the member of a path item that describes the answer to the
// methods which the path does not know; unknownPath that of the document for
// paths that are not in it.
const (
	otherMethods = "x-other-methods"
	unknownPath  = "x-unknown-path"
)

// plainHeaders come with any answer and need no description.
var plainHeaders = []string{"Connection", "Content-Length", "Content-Type", "Date"}

// node is a place in the document: its value and the JSON pointer to it.
type node struct {
	value any
	at    string
}

// document is the OpenAPI description. A schema in OpenAPI 3.1 is one of JSON
// Schema 2020-12, so a validator of that judges every body.
type document struct {
	root     map[string]any
	compiler *jsonschema.Compiler
	seen     map[string]bool // answers that were checked, as in answerName
}

func answerName(operation string, status int) string {
	return fmt.Sprintf("%s -> %d", operation, status)
}

func loadDocument(t *testing.T) *document {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(openapiFile))
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{root: value.(map[string]any), compiler: jsonschema.NewCompiler(), seen: make(map[string]bool)}
	if err := d.compiler.AddResource("openapi.json", value); err != nil {
		t.Fatal(err)
	}
	return d
}

// child is the member name of n; a reference that stands there is followed.
// Its value is nil if there is none.
func (d *document) child(n node, name string) node {
	members, _ := n.value.(map[string]any)
	next := node{members[name], n.at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)}
	if object, ok := next.value.(map[string]any); ok {
		if ref, ok := object["$ref"].(string); ok {
			return d.pointer(ref)
		}
	}
	return next
}

// pointer finds what a reference within the document points to.
func (d *document) pointer(ref string) node {
	n := node{value: d.root}
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		n = d.child(n, strings.NewReplacer("~1", "/", "~0", "~").Replace(part))
	}
	return n
}

// names are the members of n, in order.
func (n node) names() []string {
	members, _ := n.value.(map[string]any)
	return slices.Sorted(maps.Keys(members))
}

// text is the member name of n as a string, "" if it is none.
func (n node) text(name string) string {
	members, _ := n.value.(map[string]any)
	s, _ := members[name].(string)
	return s
}

// operations are all operations as "GET /path", in order.
func (d *document) operations() []string {
	var all []string
	paths := d.pointer("#/paths")
	for _, path := range paths.names() {
		for _, method := range methods {
			if d.child(d.child(paths, path), method).value != nil {
				all = append(all, strings.ToUpper(method)+" "+path)
			}
		}
	}
	return all
}

// operation finds "GET /path".
func (d *document) operation(name string) node {
	method, path, _ := strings.Cut(name, " ")
	return d.child(d.child(d.pointer("#/paths"), path), strings.ToLower(method))
}

// answers are the names of all that is described, without the lists of what
// holds for other methods and other paths.
func (d *document) answers() []string {
	var all []string
	for _, op := range d.operations() {
		for _, status := range d.child(d.operation(op), "responses").names() {
			all = append(all, op+" -> "+status)
		}
	}
	return all
}

// schema compiles the schema at n.
func (d *document) schema(n node) (*jsonschema.Schema, error) {
	return d.compiler.Compile("openapi.json#" + n.at)
}

// validate judges a value that was read from JSON.
func (d *document) validate(n node, value any) error {
	s, err := d.schema(n)
	if err != nil {
		return err
	}
	return s.Validate(value)
}

// check judges an answer to an operation, and remembers that there was one.
func (d *document) check(operation string, r *wsclient.Response) error {
	name := answerName(operation, r.Status)
	response := d.child(d.child(d.operation(operation), "responses"), fmt.Sprint(r.Status))
	if err := d.checkAnswer(response, r, r.Header); err != nil {
		return fmt.Errorf("%s: %w\n%v\n%.300s", name, err, r.Header, r.Body)
	}
	d.seen[name] = true
	return nil
}

// checkAnswer judges headers and body by the description of a response.
func (d *document) checkAnswer(response node, r *wsclient.Response, header http.Header) error {
	if response.value == nil {
		return fmt.Errorf("it is not described")
	}
	if err := d.checkHeader(response, header); err != nil {
		return err
	}
	content := d.child(response, "content")
	if content.value == nil {
		if len(r.Body) != 0 {
			return fmt.Errorf("there is a body")
		}
		return nil
	}
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	schema := d.child(d.child(content, kind), "schema")
	if schema.value == nil {
		return fmt.Errorf("the Content-Type %q is not described", kind)
	}
	var value any = string(r.Body)
	if kind == "application/json" {
		var err error
		if value, err = jsonschema.UnmarshalJSON(bytes.NewReader(r.Body)); err != nil {
			return err
		}
	}
	return d.validate(schema, value)
}

func (d *document) checkHeader(response node, header http.Header) error {
	described := d.child(response, "headers")
	var known []string
	for _, name := range described.names() {
		h := d.child(described, name)
		name = http.CanonicalHeaderKey(name)
		known = append(known, name)
		values := header.Values(name)
		if len(values) == 0 && h.value.(map[string]any)["required"] != true {
			continue
		}
		if len(values) != 1 {
			return fmt.Errorf("%d headers %s", len(values), name)
		}
		schema := d.child(h, "schema")
		var value any = values[0]
		if number, err := strconv.ParseInt(values[0], 10, 64); err == nil && schema.text("type") == "integer" {
			value = number
		}
		if err := d.validate(schema, value); err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
	}
	for name := range header {
		if !slices.Contains(known, name) && !slices.Contains(plainHeaders, name) {
			return fmt.Errorf("the header %s is not described", name)
		}
	}
	return nil
}

// examples calls visit with each example of a parameter, header or media type
// within n, and with the place of its schema. References are not followed:
// what they point to is found on its own.
func (d *document) examples(n node, visit func(name string, schema node, value any)) {
	switch value := n.value.(type) {
	case []any:
		for i, v := range value {
			d.examples(node{v, fmt.Sprintf("%s/%d", n.at, i)}, visit)
		}
	case map[string]any:
		if schema := d.child(n, "schema"); schema.value != nil {
			if example, ok := value["example"]; ok {
				visit(n.at, schema, example)
			}
			for _, name := range d.child(n, "examples").names() {
				visit(n.at+" "+name, schema, d.child(d.child(n, "examples"), name).value.(map[string]any)["value"])
			}
			return
		}
		for _, name := range n.names() {
			d.examples(node{value[name], d.child(node{at: n.at}, name).at}, visit)
		}
	}
}

// TestOpenAPIDocument: the description is whole in itself. References lead
// somewhere, every component is used, schemas are ones, examples are valid.
func TestOpenAPIDocument(t *testing.T) {
	d := loadDocument(t)
	if v, _ := d.root["openapi"].(string); !strings.HasPrefix(v, "3.1.") {
		t.Errorf("openapi is %q", v)
	}
	used := map[string]bool{}
	var walk func(at string, value any)
	walk = func(at string, value any) {
		switch value := value.(type) {
		case []any:
			for i, v := range value {
				walk(fmt.Sprintf("%s/%d", at, i), v)
			}
		case map[string]any:
			if ref, ok := value["$ref"].(string); ok {
				used[ref] = true
				if len(value) != 1 || !strings.HasPrefix(ref, "#/") || d.pointer(ref).value == nil {
					t.Errorf("%s: a reference to %q", at, ref)
				}
			}
			for name, v := range value {
				walk(at+"/"+name, v)
			}
		}
	}
	walk("", d.root)

	// No operation returns these; the text and the tests refer to them.
	for _, name := range []string{"Message", "ClientMessage"} {
		used["#/components/schemas/"+name] = true
	}
	components := d.pointer("#/components")
	for _, kind := range components.names() {
		for _, name := range d.child(components, kind).names() {
			if ref := "#/components/" + kind + "/" + name; kind != "securitySchemes" && !used[ref] {
				t.Errorf("nothing refers to %s", ref)
			}
		}
	}
	for _, name := range d.pointer("#/components/schemas").names() {
		if _, err := d.schema(d.pointer("#/components/schemas/" + name)); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
	ids := map[string]bool{}
	for _, op := range d.operations() {
		o := d.operation(op)
		id := o.text("operationId")
		if id == "" || ids[id] || o.text("summary") == "" || len(d.child(o, "responses").names()) == 0 {
			t.Errorf("%s needs an operationId of its own, a summary and responses", op)
		}
		ids[id] = true
	}
	examples := 0
	d.examples(node{value: d.root}, func(name string, schema node, value any) {
		examples++
		if err := d.validate(schema, value); err != nil {
			t.Errorf("example %s: %v", name, err)
		}
	})
	if examples < 30 {
		t.Errorf("only %d examples were found", examples)
	}
}
