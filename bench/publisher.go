package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// publisher is one keep-alive connection of a backend: whole requests out of
// one buffer, and of an answer only the status and the length are read.
type publisher struct {
	conn    net.Conn
	head    []byte // of every request, up to the value of Content-Length
	subject []byte
	body    []byte
	request []byte
	in      []byte // received and not yet used
	buf     [8 << 10]byte
}

const (
	wsPath   = "/ws"
	pushPath = "/api/push"
	eventKey = "bench"

	answerWithin = 30 * time.Second
)

func dialPublisher(e endpoint) (*publisher, error) {
	conn, err := net.DialTimeout("tcp", e.addr.String(), answerWithin)
	if err != nil {
		return nil, err
	}
	return &publisher{conn: conn, head: fmt.Appendf(nil,
		"POST %s HTTP/1.1\r\nHost: %v\r\nX-API-KEY: %s\r\nContent-Type: application/json\r\nContent-Length: ", e.pushPath, e.addr, e.key)}, nil
}

func (p *publisher) close() { _ = p.conn.Close() }

// add puts one push behind those that flush will send. A delay is in seconds.
func (p *publisher) add(m message, delay, subjectBytes int) {
	p.subject = appendSubject(p.subject[:0], m, subjectBytes)
	b := append(p.body[:0], `{"event_name":"`+eventKey+`","subject":`...)
	b = append(b, p.subject...)
	if delay > 0 {
		b = strconv.AppendInt(append(b, `,"delay_seconds":`...), int64(delay), 10)
	}
	if m.to != everyone {
		b = append(b, `,"token":"USER_`...)
		b = append(strconv.AppendInt(b, int64(m.to), 10), '"')
	}
	p.body = append(b, '}')
	p.request = append(p.request, p.head...)
	p.request = strconv.AppendInt(p.request, int64(len(p.body)), 10)
	p.request = append(append(p.request, "\r\n\r\n"...), p.body...)
}

// flush sends what was added in one write and wants 200 for each of the n
// requests.
func (p *publisher) flush(n int) error {
	if err := p.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	_, err := p.conn.Write(p.request)
	p.request = p.request[:0]
	if err != nil {
		return err
	}
	for range n {
		if err := p.answer(); err != nil {
			return err
		}
	}
	return nil
}

// push sends one push and waits for its answer.
func (p *publisher) push(m message, delay, subjectBytes int) error {
	p.add(m, delay, subjectBytes)
	return p.flush(1)
}

// answer reads one response.
func (p *publisher) answer() error {
	for {
		size, err := judgeAnswer(p.in)
		if err == nil {
			p.in = p.in[size:]
			return nil
		}
		if err != errPartial {
			return err
		}
		kept := copy(p.buf[:], p.in)
		if kept == len(p.buf) {
			return errors.New("an answer of more than 8 KiB to a push")
		}
		n, err := p.conn.Read(p.buf[kept:])
		if err != nil {
			return fmt.Errorf("read the answer to a push: %w", err)
		}
		p.in = p.buf[:kept+n]
	}
}

// judgeAnswer returns the size of the response that in begins with, if it is a
// 200.
func judgeAnswer(in []byte) (size int, err error) {
	end := bytes.Index(in, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, errPartial
	}
	length := -1
	for head := in[:end]; len(head) > 0; {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		const name = "content-length:"
		if len(line) > len(name) && (line[0]|0x20) == 'c' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(name):]))); err != nil {
				return 0, fmt.Errorf("the answer to a push: %w", err)
			}
		}
	}
	if length < 0 {
		return 0, fmt.Errorf("the answer to a push has no Content-Length: %.200q", in[:end])
	}
	size = end + 4 + length
	if len(in) < size {
		return 0, errPartial
	}
	if bytes.HasPrefix(in, []byte("HTTP/1.1 200 ")) {
		return size, nil
	}
	hint := ""
	if bytes.HasPrefix(in, []byte("HTTP/1.1 401 ")) {
		hint = "; give the server's key with -key; a program that the bench starts must read api_key from config.json in its working directory"
	}
	status, _, _ := bytes.Cut(in, []byte("\r\n"))
	return 0, fmt.Errorf("a push was answered with %q, %.200q%s", status, in[end+4:size], hint)
}
