package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tidemark/internal/objstore"
)

// slowest is the upload rate, in bytes per second, below which a Create counts as stuck.
const slowest = 64 << 10

// conflicts is how often a Create is tried while other conditional writes of its key are under way.
const conflicts = 8

// Create implements objstore.Bucket.
func (b *Bucket) Create(ctx context.Context, key string, body []byte) error {
	if err := objstore.CheckKey(key); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute+time.Duration(len(body)/slowest)*time.Second)
	defer cancel()
	var err error
	for try := range conflicts {
		err = b.put(limited, key, body)
		if !isConflict(err) {
			break
		}
		select {
		case <-limited.Done():
		case <-time.After(time.Duration(try+1) * 50 * time.Millisecond):
		}
	}
	err = explain("create", b.place(key), err)
	if errors.Is(err, objstore.ErrDenied) && b.exists(limited, key) {
		// Some stores look at the lock on the object before they look at the condition.
		return fmt.Errorf("create %s: %w", key, objstore.ErrExists)
	}
	return err
}

func (b *Bucket) exists(ctx context.Context, key string) bool {
	_, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: aws.String(b.prefix + key)})
	return err == nil
}

func (b *Bucket) put(ctx context.Context, key string, body []byte) error {
	in := &s3.PutObjectInput{
		Bucket: &b.name, Key: aws.String(b.prefix + key), Body: bytes.NewReader(body), IfNoneMatch: aws.String("*"),
		ContentLength: aws.Int64(int64(len(body))),
	}
	summed := b.checksum.Load()
	if summed {
		sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body))
		in.ChecksumCRC32 = aws.String(base64.StdEncoding.EncodeToString(sum))
	}
	_, err := b.client.PutObject(ctx, in)
	if wantsChecksum(err) && !summed {
		b.checksum.Store(true)
		return b.put(ctx, key, body)
	}
	return err
}

// Get implements objstore.Bucket.
func (b *Bucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := objstore.CheckKey(key); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: aws.String(b.prefix + key)})
	if err != nil {
		cancel()
		return nil, explain("get", b.place(key), err)
	}
	if out.ContentLength == nil {
		cancel()
		return nil, errors.Join(explain("get", b.place(key), errNoLength), out.Body.Close())
	}
	return newBody(out.Body, *out.ContentLength, cancel), nil
}

// List implements objstore.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: aws.String(b.prefix + prefix)}
		if after != "" {
			in.StartAfter = aws.String(b.prefix + after)
		}
		if b.page > 0 {
			in.MaxKeys = &b.page
		}
		pages := s3.NewListObjectsV2Paginator(b.client, in)
		for pages.HasMorePages() {
			limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
			page, err := pages.NextPage(limited)
			cancel()
			if err != nil {
				yield(objstore.Object{}, explain("list", b.place(prefix), err))
				return
			}
			for _, o := range page.Contents {
				key := strings.TrimPrefix(aws.ToString(o.Key), b.prefix)
				if strings.HasSuffix(key, "/") || key == "" {
					continue // a folder that some tool made
				}
				if !yield(objstore.Object{Key: key, Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}, nil) {
					return
				}
			}
		}
	}
}

// Delete implements objstore.Bucket. In a bucket with versions the object's earlier versions stay.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := objstore.CheckKey(key); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	_, err := b.client.DeleteObject(limited, &s3.DeleteObjectInput{Bucket: &b.name, Key: aws.String(b.prefix + key)})
	if err = explain("delete", b.place(key), err); errors.Is(err, objstore.ErrNotFound) {
		return nil
	}
	return err
}
