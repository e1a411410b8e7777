package integration

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tidemark/internal/postgres/throwaway"
)

// cached is a program that `make setup` put into the cache.
func cached(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(throwaway.CacheDir(), "bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("find %s: %v: run 'make setup'", name, err)
	}
	return path
}

// serve starts a server that listens on a loopback port and ends with the test.
func serve(t testing.TB, name string, port int, env []string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(cached(t, name), args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), env...)
	c := start(t, cmd)
	t.Cleanup(func() {
		c.signal(t, syscall.SIGKILL, 10*time.Second)
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("log of %s:\n%s", name, text[max(0, len(text)-3000):])
		}
	})
	eventually(t, 20*time.Second, name+" answers", func() bool {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// startNATS starts a NATS server with JetStream and returns its URL.
func startNATS(t testing.TB) string {
	t.Helper()
	port := freePort(t)
	serve(t, "nats-server", port, nil, "-a", "127.0.0.1", "-p", strconv.Itoa(port), "-js", "-sd", t.TempDir())
	return fmt.Sprintf("nats://127.0.0.1:%d", port)
}

// store is an S3 server with one bucket.
type store struct {
	access, secret string
	endpoint       string
}

func startS3(t testing.TB) store {
	t.Helper()
	s := store{access: rand.Text(), secret: rand.Text()}
	port, root := freePort(t), t.TempDir()
	data, sidecar := filepath.Join(root, "data"), filepath.Join(root, "sidecar")
	for _, dir := range []string{data, sidecar} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	serve(t, "versitygw", port, []string{"ROOT_ACCESS_KEY_ID=" + s.access, "ROOT_SECRET_ACCESS_KEY=" + s.secret},
		"--port", fmt.Sprintf("127.0.0.1:%d", port), "--region", "us-east-1", "--quiet", "posix", "--sidecar", sidecar, data)
	s.endpoint = fmt.Sprintf("http://127.0.0.1:%d", port)
	client := s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &s.endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.access, s.secret, ""),
	})
	if _, err := client.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: aws.String("archive")}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s store) url(bucket string) string {
	q := url.Values{"region": {"us-east-1"}, "endpoint": {s.endpoint}}
	return "s3://" + bucket + "/some/prefix?" + q.Encode()
}

// env gives the program the store's credentials.
func (s store) env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.access, "AWS_SECRET_ACCESS_KEY=" + s.secret}
}
