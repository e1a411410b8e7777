package world

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	bucket = "archive"
	region = "us-east-1"
)

// keys give access to the store.
type keys struct{ access, secret string }

func newKeys() keys { return keys{access: rand.Text(), secret: rand.Text()} }

func (k keys) env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + k.access, "AWS_SECRET_ACCESS_KEY=" + k.secret}
}

// newStore makes the S3 server. It does not start it.
func newStore(ctx context.Context, dir string, k keys) (*Process, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	data, sidecar := filepath.Join(dir, "s3", "data"), filepath.Join(dir, "s3", "sidecar")
	if err := errors.Join(os.MkdirAll(data, 0o700), os.MkdirAll(sidecar, 0o700)); err != nil {
		return nil, fmt.Errorf("make directories of the store: %w", err)
	}
	env := []string{"ROOT_ACCESS_KEY_ID=" + k.access, "ROOT_SECRET_ACCESS_KEY=" + k.secret}
	return newProcess(dir, "versitygw", port, env, "--port", loopback(port), "--region", region, "--quiet", "posix", "--sidecar", sidecar, data)
}

// makeBucket makes the bucket of a store that runs.
func makeBucket(ctx context.Context, store *Process, k keys) error {
	client := s3.New(s3.Options{
		Region: region, BaseEndpoint: aws.String("http://" + store.Address()), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(k.access, k.secret, ""),
	})
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		return fmt.Errorf("make bucket: %w", err)
	}
	return nil
}

// archiveURL is the archive at a store's address.
func archiveURL(address string) string {
	q := url.Values{"region": {region}, "endpoint": {"http://" + address}}
	return "s3://" + bucket + "/some/prefix?" + q.Encode()
}

// newNATS makes the NATS server. It does not start it.
func newNATS(ctx context.Context, dir string) (*Process, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	return newProcess(dir, "nats-server", port, nil, "-a", "127.0.0.1", "-p", strconv.Itoa(port), "-js", "-sd", filepath.Join(dir, "nats"))
}
