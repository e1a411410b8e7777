// Package control is the service's one HTTP port: the admin API (Connect: gRPC, gRPC-Web and JSON), health, metrics, and
// a client for the commands. It shows state that others give it and changes none.
//
// Without a token the server answers only requests that name a loopback host, so that a web page which points its own
// name at 127.0.0.1 (DNS rebinding) reads nothing. With a token everything but /healthz and /readyz needs it.
package control
