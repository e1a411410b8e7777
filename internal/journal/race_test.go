package journal_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"tidemark/internal/journal"
	"tidemark/internal/progress"
	"tidemark/internal/vfs"
)

// One writer, three readers that follow it, retention behind the slowest of them, and a View now and then.
func TestConcurrent(t *testing.T) {
	const n = 3000
	cfg := small()
	cfg.Dir = t.TempDir()
	cfg.SegmentSize, cfg.MaxSize = 16<<10, 1<<30
	b := progress.New()
	j, err := journal.Open(vfs.OS{}, cfg, id, start, b, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	followers, ctx := errgroup.WithContext(ctx)
	for i := range 3 {
		name := fmt.Sprint("reader ", i)
		names = append(names, name)
		b.Set(name, progress.Mark{Stored: start})
		followers.Go(func() error { return follow(ctx, j, b, name, n, i*997) })
	}
	done := make(chan struct{})
	var others errgroup.Group
	others.Go(func() error {
		defer close(done)
		for i := 1; i <= n; i++ {
			if err := add(j, i, i); err != nil {
				return err
			}
			if i%100 == 2 {
				if err := j.Append(transaction(3 * (i/3 + 2))[0]); err != nil {
					return err
				}
				if err := j.Discard(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	others.Go(func() error {
		for {
			select {
			case <-done:
				return nil
			case <-b.Changed():
			}
			floor, _ := b.Floor(names...)
			if err := j.Retain(floor, time.Now().Add(24*time.Hour)); err != nil {
				return err
			}
			_, _ = j.Segments(), j.Bytes()
		}
	})
	others.Go(func() error {
		for {
			select {
			case <-done:
				return nil
			default:
			}
			before, _ := j.Durable()
			v, err := journal.OpenReadOnly(vfs.OS{}, cfg.Dir)
			if err != nil {
				return fmt.Errorf("view: %w", err)
			}
			if v.End() < before {
				return fmt.Errorf("view ends at %s, %s was durable before", v.End(), before)
			}
		}
	})
	if err := errors.Join(others.Wait(), followers.Wait()); err != nil {
		t.Error(err)
	}
	if err := j.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// follow reads up to the n-th transaction; every so often it comes back, as a Runner does after an error.
func follow(ctx context.Context, j *journal.Journal, b *progress.Board, name string, n, again int) error {
	state := reading{next: 1}
	for state.next <= n {
		r, err := j.Read(end(state.next - 1))
		if err != nil {
			return err
		}
		state.parts = 0
		for frames := 0; state.next <= n && (again == 0 || frames < again); frames++ {
			f, err := r.Next(ctx)
			if err != nil {
				return fmt.Errorf("%s at transaction %d: %w", name, state.next, err)
			}
			if durable, _ := j.Durable(); f.End > durable {
				return fmt.Errorf("%s was given %s, durable is %s", name, f.End, durable)
			}
			if err := state.take(f); err != nil {
				return err
			}
			if f.Last {
				b.Set(name, progress.Mark{Stored: f.End})
			}
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	return nil
}
