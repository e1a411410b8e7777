package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tidemark/internal/postgres/throwaway"
)

const startTimeout = 30 * time.Second

// Process is a server that listens on a fixed loopback port and keeps its data over restarts. All methods are for any
// goroutine.
type Process struct {
	name, path, log string
	args, env       []string
	address         string // host:port

	mu    sync.Mutex // held while it starts or is ended
	child atomic.Pointer[child]
}

// newProcess makes a process of a program that `make setup` put into the cache. It does not start it.
func newProcess(dir, name string, port int, env []string, args ...string) (*Process, error) {
	path := filepath.Join(throwaway.CacheDir(), "bin", name)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("find %s: %w: run 'make setup'", name, err)
	}
	return &Process{name: name, path: path, log: filepath.Join(dir, name+".log"), args: args, env: env, address: loopback(port)}, nil
}

// Address is where the server listens, as host:port.
func (p *Process) Address() string { return p.address }

// LogFile holds what the server wrote to its standard output and error, over all starts.
func (p *Process) LogFile() string { return p.log }

// Running says whether the process is alive, be it paused. It waits for nothing.
func (p *Process) Running() bool { return p.child.Load().running() }

// Start starts the server, on the same port and data as before, and waits until it accepts connections. A server that
// runs is left alone.
func (p *Process) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Running() {
		return nil
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), p.env...)
	c, err := startChild(cmd)
	if err != nil {
		return err
	}
	p.child.Store(c)
	return p.answers(ctx, c)
}

// answers waits until the server accepts a connection.
func (p *Process) answers(ctx context.Context, c *child) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-c.done:
			return fmt.Errorf("start %s: it ended, see %s: %w", p.name, p.log, c.err)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", p.name, errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.child.Load().end(ctx, syscall.SIGKILL)
}

// Pause stops the process where it stands: its connections stay open and nothing is answered.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.child.Load().signal(sig)
}
