package s3test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sys/unix"
)

const region = "us-east-1"

// Server is a running store.
type Server struct {
	// Endpoint is its URL.
	Endpoint string

	access, secret string
	root           string
	client         *s3.Client
	buckets        atomic.Int64
}

// Program is the server's program: bin/versitygw in the cache that `make setup` fills.
func Program() string { return filepath.Join(CacheDir(), "bin", "versitygw") }

// CacheDir is where `make setup` puts programs: the same place as throwaway.CacheDir, which is above this layer.
func CacheDir() string {
	if dir := os.Getenv("TIDEMARK_CACHE"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/cache/tidemark"
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "tidemark-cache")
	}
	return filepath.Join(home, ".cache", "tidemark")
}

// Start starts a server for the test and puts its credentials into the test's environment.
func Start(t testing.TB) *Server {
	t.Helper()
	if _, err := os.Stat(Program()); err != nil {
		t.Fatalf("find the S3 server for tests: %v: run 'make setup'", err)
	}
	s := &Server{access: rand.Text(), secret: rand.Text(), root: t.TempDir()}
	t.Setenv("AWS_ACCESS_KEY_ID", s.access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s.secret)
	var err error
	for range 3 { // the port may be taken between finding it free and using it
		if err = s.start(t); err == nil {
			s.connect()
			return s
		}
	}
	t.Fatal(err)
	return nil
}

func (s *Server) start(t testing.TB) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	data := filepath.Join(s.root, "data")
	args := []string{"--port", address, "--region", region, "--quiet", "posix"}
	dirs := []string{data}
	if !takesXattr(s.root) {
		sidecar := filepath.Join(s.root, "sidecar")
		args, dirs = append(args, "--sidecar", sidecar), append(dirs, sidecar)
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	log, err := os.Create(filepath.Join(s.root, "server.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(Program(), append(args, data)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.root, log, log
	cmd.Env = []string{"ROOT_ACCESS_KEY_ID=" + s.access, "ROOT_SECRET_ACCESS_KEY=" + s.secret, "HOME=" + s.root, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	done, err := run(cmd)
	if err != nil {
		return fmt.Errorf("start versitygw: %w", err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("stop versitygw: %v", err)
		}
		<-done
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("server log:\n%s", text)
		}
	})
	s.Endpoint = "http://" + address
	return wait(address, log.Name(), done)
}

// run starts a child and waits for it on one locked thread: the kernel sends the parent-death signal when the thread ends.
func run(cmd *exec.Cmd) (<-chan struct{}, error) {
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	return done, <-started
}

func wait(address, log string, done <-chan struct{}) error {
	deadline := time.After(20 * time.Second)
	for {
		if c, err := net.Dial("tcp", address); err == nil {
			return c.Close()
		}
		select {
		case <-done:
			text, _ := os.ReadFile(log)
			return fmt.Errorf("start versitygw: it ended: %s", strings.TrimSpace(string(text)))
		case <-deadline:
			return fmt.Errorf("start versitygw: no answer on %s", address)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// takesXattr reports whether the file system keeps extended attributes, in which versitygw stores what it knows of an object.
func takesXattr(dir string) bool { return unix.Setxattr(dir, "user.tidemark", []byte("1"), 0) == nil }

func (s *Server) connect() {
	s.client = s3.New(s3.Options{
		Region: region, BaseEndpoint: &s.Endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.access, s.secret, ""),
	})
}

// Bucket makes a fresh bucket and returns its URL, with a prefix.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	return s.URL(s.NewBucket(t, false), "some/prefix")
}

// NewBucket makes a fresh bucket, with Object Lock if wanted, and returns its name.
func (s *Server) NewBucket(t testing.TB, lock bool) string {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", s.buckets.Add(1))
	in := &s3.CreateBucketInput{Bucket: &name}
	if lock {
		in.ObjectLockEnabledForBucket = aws.Bool(true)
	}
	if _, err := s.client.CreateBucket(context.Background(), in); err != nil {
		t.Fatalf("create bucket: %v", err)
	}
	return name
}

// Client is a client with the server's own rights.
func (s *Server) Client() *s3.Client { return s.client }

// URL names a place on the server.
func (s *Server) URL(bucket, prefix string) string {
	q := url.Values{"region": {region}, "endpoint": {s.Endpoint}}
	return (&url.URL{Scheme: "s3", Host: bucket, Path: "/" + prefix, RawQuery: q.Encode()}).String()
}

// Path is the file in which the server keeps an object, to damage it.
func (s *Server) Path(bucket, key string) string {
	return filepath.Join(s.root, "data", bucket, filepath.FromSlash(key))
}
