package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidemark/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// binary is the program under test.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("TIDEMARK_BIN"); path != "" {
		return filepath.Abs(path)
	}
	path, err := filepath.Abs("../bin/tidemark")
	if err != nil {
		return "", err
	}
	// A fresh program costs a second when nothing changed; a stale one would test yesterday.
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/tidemark")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w: %s", err, out)
	}
	return path, nil
})

func program(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// number reads a number from the environment.
func number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %q is not a number", name, text)
	}
	return n
}

// random is the test's source of chance; its seed is in the log.
func random(t testing.TB) *rand.Rand {
	t.Helper()
	seed := number(t, "TIDEMARK_SEED", int(time.Now().UnixNano()&0x7fffffff))
	t.Logf("TIDEMARK_SEED=%d", seed)
	return rand.New(rand.NewPCG(uint64(seed), 1))
}

// child is a process that dies with us.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait, once done is closed
}

// start starts and waits on one locked thread: the kernel sends a child's parent-death signal when the thread that
// started it ends.
func start(t testing.TB, cmd *exec.Cmd) *child {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c := &child{cmd: cmd, done: make(chan struct{})}
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
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	return c
}

// signal sends a signal and waits until the process has ended.
func (c *child) signal(t testing.TB, sig syscall.Signal, limit time.Duration) {
	t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("signal %s: %v", c.cmd.Path, err)
	}
	select {
	case <-c.done:
	case <-time.After(limit):
		t.Errorf("%s did not end within %v of %v", filepath.Base(c.cmd.Path), limit, sig)
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually polls until is true.
func eventually(t testing.TB, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
