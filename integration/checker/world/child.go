package world

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// child is a process in a group of its own.
type child struct {
	cmd     *exec.Cmd
	started time.Time
	done    chan struct{}
	err     error // of Wait, once done is closed
}

// attributes are those of every process that we start.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// startChild starts and waits on one locked thread: the kernel sends a child's parent-death signal when the thread that
// started it ends, not only when the process does.
func startChild(cmd *exec.Cmd) (*child, error) {
	cmd.SysProcAttr = attributes()
	c := &child{cmd: cmd, started: time.Now(), done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(c.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(cmd.Path), err)
	}
	return c, nil
}

func (c *child) running() bool {
	if c == nil {
		return false
	}
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// signal reaches the whole group. A process that has ended is no error.
func (c *child) signal(sig syscall.Signal) error {
	if !c.running() {
		return nil
	}
	if err := syscall.Kill(-c.cmd.Process.Pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to %s: %w", sig, filepath.Base(c.cmd.Path), err)
	}
	return nil
}

// end sends a signal and waits for the end.
func (c *child) end(ctx context.Context, sig syscall.Signal) error {
	if c == nil {
		return nil
	}
	if err := c.signal(sig); err != nil {
		return err
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s to end after %v: %w", filepath.Base(c.cmd.Path), sig, context.Cause(ctx))
	}
}

// freePort finds a port below those that the kernel gives to outgoing connections (32768 and above on Linux): a server
// that is down for a while finds its port free when it comes back.
func freePort(ctx context.Context) (int, error) {
	var err error
	for range 100 {
		port := 15000 + rand.IntN(16000)
		var l net.Listener
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", loopback(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
