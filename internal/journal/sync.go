package journal

import (
	"fmt"
	"time"

	"tidemark/internal/planted"
	"tidemark/internal/progress"
)

// syncLoop is the syncer.
func (j *Journal) syncLoop() {
	defer close(j.stopped)
	for {
		select {
		case <-j.wake:
		case <-j.stop:
			return
		}
		j.syncing.Lock()
		err := j.syncWritten()
		j.syncing.Unlock()
		if err != nil {
			return
		}
	}
}

// syncWritten makes durable what was written before it began, and publishes it. The caller holds syncing.
func (j *Journal) syncWritten() error {
	j.mu.Lock()
	target, file, err := j.written, j.file, j.err
	idle := target == j.durable
	j.mu.Unlock()
	if err != nil || idle || file == nil {
		return err
	}
	if planted.Every(planted.FsyncSkipped, 3) {
		j.publish(target)
		return nil
	}
	// A crash before this returns loses at most what nobody was told is durable.
	if err := j.fsync(file.Sync); err != nil {
		return j.fail(fmt.Errorf("fsync segment %d: %w", target.sequence, err))
	}
	j.publish(target)
	return nil
}

func (j *Journal) fsync(sync func() error) error {
	start := time.Now()
	err := sync()
	j.metrics.fsync.Observe(time.Since(start).Seconds())
	return err
}

// publish says that everything up to m is durable. The caller holds syncing.
func (j *Journal) publish(m mark) {
	j.mu.Lock()
	j.durable = m
	j.announce()
	j.mu.Unlock()
	if j.board != nil {
		j.board.Set(progress.Journal, progress.Mark{Stored: m.end, Covered: m.end, Time: m.time})
	}
}

// wakeSyncer asks for an fsync.
func (j *Journal) wakeSyncer() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}
