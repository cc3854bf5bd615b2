package main

import (
	"database/sql"
	"path/filepath"

	_ "modernc.org/sqlite"
)

type lite struct{ db *sql.DB }

func openSQLite(dir string) (candidate, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "sqlite")+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=locking_mode(EXCLUSIVE)&_pragma=auto_vacuum(INCREMENTAL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.Exec("CREATE TABLE IF NOT EXISTS m (k INTEGER PRIMARY KEY, v BLOB)")
	return &lite{db}, err
}

func (s *lite) commit(c *change) error {
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	add, err := tx.Prepare("INSERT INTO m VALUES (?, ?)")
	if err != nil {
		return err
	}
	defer add.Close()
	del, err := tx.Prepare("DELETE FROM m WHERE k = ?")
	if err != nil {
		return err
	}
	defer del.Close()
	for i, k := range c.keys {
		if _, err := add.Exec(int64(k), c.bodies[i]); err != nil {
			return err
		}
	}
	for _, k := range c.gone {
		if _, err := del.Exec(int64(k)); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s *lite) load(key uint64) (int, error) {
	var v []byte
	err := s.db.QueryRow("SELECT v FROM m WHERE k = ?", int64(key)).Scan(&v)
	return len(v), err
}

func (s *lite) each(visit func(uint64, []byte)) error {
	rows, err := s.db.Query("SELECT k, v FROM m ORDER BY k")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var k int64
		var v sql.RawBytes
		if err := rows.Scan(&k, &v); err != nil {
			return err
		}
		visit(uint64(k), v)
	}
	return rows.Err()
}

func (s *lite) close() error { return s.db.Close() }
