package control

import (
	"context"
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	controlv1 "tidemark/proto/tidemark/control/v1"
	"tidemark/proto/tidemark/control/v1/controlv1connect"
)

// Client asks a running service.
type Client struct {
	api   controlv1connect.ControlServiceClient
	token string
	url   string
}

// NewClient talks to a base URL such as http://127.0.0.1:8321. The token may be empty.
func NewClient(url, token string) *Client {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true} // commands ask once
	return &Client{api: controlv1connect.NewControlServiceClient(&http.Client{Transport: transport}, url), token: token, url: url}
}

// Status asks once.
func (c *Client) Status(ctx context.Context) (State, error) {
	req := connect.NewRequest(&controlv1.StatusRequest{})
	if c.token != "" {
		req.Header().Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.api.Status(ctx, req)
	if err != nil {
		return State{}, fmt.Errorf("ask the service at %s: %w; is `tidemark run` running there?", c.url, err)
	}
	return fromProto(resp.Msg.GetStatus())
}

// Watch calls show with the state again and again, intervalMS milliseconds apart, until ctx ends or show returns an error.
func (c *Client) Watch(ctx context.Context, intervalMS uint32, show func(State) error) error {
	req := connect.NewRequest(&controlv1.WatchRequest{IntervalMs: intervalMS})
	if c.token != "" {
		req.Header().Set("Authorization", "Bearer "+c.token)
	}
	stream, err := c.api.Watch(ctx, req)
	if err != nil {
		return fmt.Errorf("ask the service at %s: %w; is `tidemark run` running there?", c.url, err)
	}
	defer func() { _ = stream.Close() }() // what there was to say, Err has said
	for stream.Receive() {
		state, err := fromProto(stream.Msg().GetStatus())
		if err != nil {
			return err
		}
		if err := show(state); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("watch the service at %s: %w", c.url, err)
	}
	return nil
}
