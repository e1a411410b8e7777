package restore

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"tidemark/internal/archive"
)

// What is fetched ahead of replay: so many objects, and together so many bytes.
const (
	aheadObjects = 16
	aheadBytes   = 128 << 20
)

type fetched struct {
	body *archive.Body
	err  error
}

// fetcher reads objects ahead, several at a time, and gives them in order.
type fetcher struct {
	queue  chan chan fetched
	room   *semaphore.Weighted
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// fetch begins to read objects. The caller calls close in the end.
func fetch(ctx context.Context, store *archive.Store, objects []archive.Object) *fetcher {
	ctx, cancel := context.WithCancel(ctx)
	f := &fetcher{queue: make(chan chan fetched, aheadObjects), room: semaphore.NewWeighted(aheadBytes), cancel: cancel}
	f.done.Go(func() {
		defer close(f.queue)
		for _, o := range objects {
			if f.room.Acquire(ctx, weight(o)) != nil {
				return
			}
			slot := make(chan fetched, 1)
			f.done.Go(func() {
				body, err := again(ctx, func() (*archive.Body, error) { return store.Fetch(ctx, o) })
				slot <- fetched{body, err}
			})
			select {
			case f.queue <- slot:
			case <-ctx.Done():
				return
			}
		}
	})
	return f
}

// weight is an object's share of aheadBytes; a larger one goes alone.
func weight(o archive.Object) int64 { return min(o.Size, aheadBytes) }

// next gives the next object's bytes; release gives its memory back. It must follow the order of the objects.
func (f *fetcher) next(ctx context.Context) (*archive.Body, error) {
	slot, ok := <-f.queue
	if !ok {
		return nil, context.Cause(ctx)
	}
	got := <-slot
	return got.body, got.err
}

func (f *fetcher) release(o archive.Object) { f.room.Release(weight(o)) }

// close ends all reading.
func (f *fetcher) close() {
	f.cancel()
	f.done.Wait()
}
