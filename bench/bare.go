package main

import (
	"bytes"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// bareMode is, as the first argument of the child, the least that a relay could
// do for a push that it delivers by itself: a request is read, the frame is
// sent to the one connection of its token, the request is answered. Nothing is
// parsed but what tells the receiver, and only the bench's own requests are
// understood. What a relay takes more than this is its own; what this takes is
// the kernel's.
const bareMode = "bare-push"

// bareClients is more than any bench has clients.
const bareClients = 1 << 24

type bareRelay struct {
	*rawLoop
	clients []int32 // descriptors, by the number in their token
	frame   []byte
	payload []byte
}

var (
	bareWelcome = []byte(handshakeAnswer)
	bareAnswer  = []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n" + `{"code":0,"msg":"ok"}`)
	bareRefusal = []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

	bareToken   = []byte("token=USER_")
	bareSubject = []byte(`"subject":`)
	bareTo      = []byte(`,"token":"USER_`)
)

func serveBare() error {
	l, err := newRawLoop("bare relay")
	if err != nil {
		return err
	}
	r := &bareRelay{rawLoop: l}
	l.read = r.serve
	l.order = func() error {
		_, err := io.Copy(io.Discard, os.Stdin)
		if err == nil {
			err = io.EOF
		}
		return err
	}
	return l.run()
}

// serve takes a handshake, a push, or the end of a connection. Each is one
// segment: the bench sends it in one write.
func (r *bareRelay) serve(fd int) {
	n, errno := receive(fd, r.buf)
	switch {
	case errno == unix.EAGAIN:
	case errno != 0 || n == 0:
		_ = unix.Close(fd)
	case r.buf[0] == 'G':
		r.enter(fd, r.buf[:n])
	default:
		r.push(fd, r.buf[:n])
	}
}

// enter lets a client in.
func (r *bareRelay) enter(fd int, head []byte) {
	_, rest, _ := bytes.Cut(head, bareToken)
	n, _, ok := leadingInt(rest, "")
	if !ok || n >= bareClients {
		_, _ = send(fd, bareRefusal)
		return
	}
	for int64(len(r.clients)) <= n {
		r.clients = append(r.clients, -1)
	}
	r.clients[n] = int32(fd)
	_, _ = send(fd, bareWelcome) // a client that does not get it says so
}

// push delivers one push and answers it.
func (r *bareRelay) push(fd int, request []byte) {
	_, rest, _ := bytes.Cut(request, bareSubject)
	subject, rest, _ := bytes.Cut(rest, bareTo)
	n, _, ok := leadingInt(rest, "")
	if !ok || n >= int64(len(r.clients)) {
		_, _ = send(fd, bareRefusal)
		return
	}
	p := append(append(r.payload[:0], `{"event":"`+eventKey+`","data":{"subject":`...), subject...)
	p = strconv.AppendInt(append(p, `,"ts":1733890000000,"token":"USER_`...), n, 10)
	r.payload = append(p, `"}}`...)
	r.frame = appendTextFrame(r.frame[:0], r.payload)
	_, _ = send(int(r.clients[n]), r.frame) // one that is lost is missed by its client
	_, _ = send(fd, bareAnswer)
}
