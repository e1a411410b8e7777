package world

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tidemark/internal/postgres/throwaway"
)

// The hops of the service. What it connects to for each is known only through the hop.
const (
	HopSource  = "source"
	HopStandby = "standby"
	HopNATS    = "nats"
	HopArchive = "archive"
)

// World is everything that one run needs. Start makes one and the caller calls Close.
type World struct {
	Primary *Server
	Standby *Server
	Scratch *Server // for restores
	NATS    *Process
	S3      *Process
	Archive *ArchiveFaults // behind the hop to the archive
	Service *Service
	Disk    *Disk

	cfg  Config
	keys keys
	hops map[string]*Proxy

	mu    sync.Mutex
	clean []func() error // newest last
}

// Start starts all servers and proxies, makes the databases and the bucket, and writes the service's configuration. The
// service is neither initialised nor started. It takes a few seconds. An error leaves nothing running.
func Start(ctx context.Context, cfg Config) (*World, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("start the world: %w", err)
	}
	w := &World{cfg: cfg, keys: newKeys(), hops: map[string]*Proxy{}}
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the world: %w", err), w.Close())
	}
	return w, nil
}

func (w *World) start(ctx context.Context) error {
	begin := time.Now()
	var err error
	if w.Disk, err = newDisk(filepath.Join(w.cfg.Dir, "disk"), w.cfg.DiskSize); err != nil {
		return err
	}
	w.atEnd(w.Disk.close)
	group, limited := errgroup.WithContext(ctx)
	group.Go(func() error { return w.server(limited, "primary", Database, &w.Primary) })
	group.Go(func() error { return w.server(limited, "standby", Database, &w.Standby) })
	group.Go(func() error { return w.server(limited, "scratch", throwaway.Superuser, &w.Scratch) })
	group.Go(func() error { return w.others(limited) })
	if err := group.Wait(); err != nil {
		return err
	}
	if err := w.proxies(ctx); err != nil {
		return err
	}
	if err := w.service(ctx); err != nil {
		return err
	}
	w.cfg.Log.Info("the world is there", "version", w.Primary.Major(), "disk", w.Disk.Available(), "seconds", time.Since(begin).Seconds())
	return nil
}

// atEnd lets Close do something, before what was said earlier.
func (w *World) atEnd(do func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clean = append(w.clean, do)
}

func (w *World) server(ctx context.Context, name, database string, to **Server) error {
	s, err := newServer(ctx, w.cfg.Dir, name, database, w.cfg.Major)
	if s != nil {
		w.atEnd(func() error { return within(s.Crash) })
	}
	*to = s
	return err
}

// others starts the servers that are no PostgreSQL.
func (w *World) others(ctx context.Context) (err error) {
	if w.NATS, err = newNATS(ctx, w.cfg.Dir); err != nil {
		return err
	}
	if w.S3, err = newStore(ctx, w.cfg.Dir, w.keys); err != nil {
		return err
	}
	for _, p := range []*Process{w.NATS, w.S3} {
		w.atEnd(func() error { return within(p.Kill) })
		if err := p.Start(ctx); err != nil {
			return err
		}
	}
	return makeBucket(ctx, w.S3, w.keys)
}

func (w *World) proxies(ctx context.Context) (err error) {
	if w.Archive, err = newArchiveFaults(ctx, w.S3.Address()); err != nil {
		return err
	}
	w.atEnd(w.Archive.close)
	for name, upstream := range map[string]string{
		HopSource: w.Primary.address(), HopStandby: w.Standby.address(), HopNATS: w.NATS.Address(), HopArchive: w.Archive.address,
	} {
		p, err := newProxy(ctx, name, upstream)
		if err != nil {
			return err
		}
		w.atEnd(p.close)
		w.hops[name] = p
	}
	return nil
}

func (w *World) service(ctx context.Context) error {
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	source, err := w.Primary.through(w.Hop(HopSource))
	if err != nil {
		return err
	}
	standby, err := w.Standby.through(w.Hop(HopStandby))
	if err != nil {
		return err
	}
	journal := filepath.Join(w.Disk.Dir(), "journal")
	w.Service = newService(w.cfg, journal, append(w.keys.env(), w.cfg.Env...))
	w.atEnd(w.Service.close)
	return w.cfg.write(w.Service.ConfigFile(), journal, addresses{
		source: source, standby: standby, nats: "nats://" + w.Hop(HopNATS).Address(),
		archive: archiveURL(w.Hop(HopArchive).Address()), listen: loopback(port),
	})
}

// Hop is the proxy between the service and a server: source, standby, nats or archive. Others are nil.
func (w *World) Hop(name string) *Proxy { return w.hops[name] }

// NATSURL is the NATS server, not through the proxy.
func (w *World) NATSURL() string { return "nats://" + w.NATS.Address() }

// ArchiveURL is the archive, not through the proxies. Service.Command has its credentials.
func (w *World) ArchiveURL() string { return archiveURL(w.S3.Address()) }

// ArchiveProxied is the archive as the service sees it.
func (w *World) ArchiveProxied() string { return archiveURL(w.Hop(HopArchive).Address()) }

// StoreEnv is the credentials of the archive as NAME=value, for the AWS SDK.
func (w *World) StoreEnv() []string { return w.keys.env() }

// Close ends the service, commands, proxies and servers, unmounts the disk, and leaves all files. What does not end is an
// error; the rest is ended nevertheless. It may be called again.
func (w *World) Close() error {
	w.mu.Lock()
	clean := w.clean
	w.clean = nil
	w.mu.Unlock()
	var errs []error
	for _, do := range slices.Backward(clean) {
		errs = append(errs, do())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the world: %w", err)
	}
	return nil
}

// within limits what Close does.
func within(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	return do(ctx)
}
