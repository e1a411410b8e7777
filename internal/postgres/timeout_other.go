//go:build !linux

package postgres

import (
	"net"
	"time"
)

// setUserTimeout does nothing where the kernel has no such option; TCP keepalive remains.
func setUserTimeout(*net.TCPConn, time.Duration) {}
