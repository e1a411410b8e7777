package main

import (
	"context"
	"io"
	"net"
	"testing"
)

// A service manager that stops the service while it still starts must not be told of a failure.
func TestStoppedWhileStarting(t *testing.T) {
	t.Chdir(t.TempDir())
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := silent.Accept()
		if err == nil {
			cancel()
			_, _ = io.Copy(io.Discard, conn) // until the program gives up
			_ = conn.Close()
		}
	}()
	args := []string{"run", "--source", "postgres://nobody@" + silent.Addr().String() + "/none?sslmode=disable"}
	if code := execute(ctx, args, io.Discard, io.Discard); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
