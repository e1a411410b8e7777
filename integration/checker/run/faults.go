package run

import (
	"context"
	"math/rand/v2"
	"time"

	"tidemark/integration/checker/nemesis"
	"tidemark/integration/checker/world"
)

// faultsOf lists what can go wrong. Every step of each is by pid, port or proxy: nothing of anybody else's is touched.
func (r *run) faultsOf() []nemesis.Fault {
	list := r.serviceFaults()
	list = append(list, r.serverFaults()...)
	for _, hop := range []string{world.HopSource, world.HopStandby, world.HopNATS, world.HopArchive} {
		list = append(list, r.hopFaults(hop, r.world.Hop(hop))...)
	}
	list = append(list, r.storeFaults()...)
	if r.world.Disk.Available() {
		list = append(list, r.diskFull())
	}
	return list
}

func now(f func() error) func(context.Context) error {
	return func(context.Context) error { return f() }
}

func always(f func()) func(context.Context) error {
	return func(context.Context) error { f(); return nil }
}

func (r *run) serviceFaults() []nemesis.Fault {
	s := r.world.Service
	back := func(ctx context.Context) error {
		defer r.watch.bringUp()
		return s.Start(ctx)
	}
	return []nemesis.Fault{
		{Name: "service killed", Target: "service", Weight: 8, Longest: 2 * time.Second, End: back, Begin: func(context.Context) error {
			r.watch.takeDown()
			return s.Kill()
		}},
		{Name: "service terminated", Target: "service", Weight: 2, Longest: 2 * time.Second, End: back, Begin: func(ctx context.Context) error {
			r.watch.takeDown()
			return r.terminate(ctx)
		}},
		{Name: "service stopped", Target: "service", Weight: 2, Longest: 4 * time.Second, Begin: now(s.Pause), End: now(s.Resume)},
	}
}

func (r *run) serverFaults() []nemesis.Fault {
	w := r.world
	return []nemesis.Fault{
		{Name: "primary crashed", Target: "primary", Weight: 2, Longest: 2 * time.Second, Begin: w.Primary.Crash, End: w.Primary.Start},
		{Name: "standby crashed", Target: "standby", Weight: 3, Longest: 3 * time.Second, Begin: w.Standby.Crash, End: w.Standby.Start},
		{Name: "nats killed", Target: "nats", Weight: 3, Longest: 3 * time.Second, Begin: w.NATS.Kill, End: w.NATS.Start},
		// Killed within a PUT, versitygw keeps the object's metadata without its data: it answers 412 to a writer and 404 to a reader for ever.
		{Name: "s3 paused", Target: "s3", Weight: 3, Longest: 3 * time.Second, Begin: now(w.S3.Pause), End: now(w.S3.Resume)},
	}
}

func (r *run) hopFaults(hop string, p *world.Proxy) []nemesis.Fault {
	// The schedule is fixed by the nemesis' seed; how bad a fault is comes from the director's.
	list := []nemesis.Fault{
		{Name: hop + " slow", Longest: 4 * time.Second, Begin: now(func() error {
			return p.Latency(time.Duration(5+r.worse.roll(200))*time.Millisecond, time.Duration(r.worse.roll(50))*time.Millisecond)
		})},
		// What is under way takes long then, so a reset at the end strikes in the middle of it.
		{Name: hop + " narrow, then reset", Weight: 2, Longest: 5 * time.Second, Begin: now(func() error { return p.Bandwidth(50 + r.worse.roll(1000)) }), End: now(p.Reset)},
		{Name: hop + " cut", Weight: 2, Longest: 3 * time.Second, Begin: now(p.Cut)},
		{Name: hop + " reset", Weight: 2, Longest: 200 * time.Millisecond, Begin: now(p.Reset)},
		{Name: hop + " replies lost", Weight: 2, Longest: time.Second, Begin: now(p.LoseReplies)},
		{Name: hop + " half open", Longest: 6 * time.Second, Begin: now(p.HalfOpen)},
	}
	if hop == world.HopSource { // where we ask at all times; elsewhere a statement may take its time, and only the kernel can tell
		list = append(list, nemesis.Fault{Name: hop + " lost for good", Longest: 100 * time.Millisecond, Begin: now(p.Abandon)})
	}
	for i := range list {
		list[i].Target, list[i].Weight = "hop "+hop, max(1, list[i].Weight)
		if list[i].End == nil {
			list[i].End = now(p.Heal)
		}
	}
	return list
}

func (r *run) storeFaults() []nemesis.Fault {
	a := r.world.Archive
	chance := func() *rand.Rand { return rand.New(rand.NewPCG(r.cfg.Seed, uint64(r.worse.roll(1<<30)))) }
	list := []nemesis.Fault{
		{Name: "s3 answers 503", Begin: always(func() { a.Answer503(0.7, chance()) })},
		{Name: "s3 replies lost", Begin: always(func() { a.LoseReply(0.5, chance()) })},
		{Name: "s3 stalls", Begin: always(func() { a.Stall(2 * time.Second) })},
	}
	for i := range list {
		list[i].Target, list[i].Weight, list[i].Longest, list[i].End = "store", 2, 4*time.Second, always(a.Heal)
	}
	return list
}

// diskFull excuses a service that ends: started on a full disk it may give up, and a service manager starts it again.
func (r *run) diskFull() nemesis.Fault {
	d := r.world.Disk
	return nemesis.Fault{Name: "journal disk full", Target: "disk", Weight: 2, Longest: 4 * time.Second,
		Begin: func(ctx context.Context) error {
			r.watch.excuse(10 * time.Second)
			return d.Fill(ctx)
		},
		End: now(func() error {
			r.watch.excuse(2 * time.Second)
			return d.Free()
		}),
	}
}
