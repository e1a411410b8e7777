package s3

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tidemark/internal/objstore"
)

const (
	connectTimeout = 10 * time.Second
	replyTimeout   = time.Minute
	stallTimeout   = time.Minute
	attempts       = 4
	maxBackoff     = time.Second
)

// Bucket is an S3 bucket below a prefix.
type Bucket struct {
	client *s3.Client
	name   string
	prefix string // empty, or ends with a slash
	// checksum is set when the store wants a checksum header with each object.
	checksum atomic.Bool
	// page is the number of keys per listing request; 0 leaves it to the store.
	page int32
}

type params struct {
	region, endpoint string
	pathStyle        bool
	checksum         bool
}

// Open takes s3://bucket/prefix with the parameters region, endpoint (the URL of a store other than AWS), path_style
// (true or false; true when there is an endpoint) and checksum (true or false: send a CRC-32 with each object from the beginning).
// Credentials come from where AWS's tools look: environment, shared files, the machine's role. Open asks for them, but does
// not talk to the store.
func Open(ctx context.Context, u *url.URL) (*Bucket, error) {
	if u.User != nil {
		return nil, fmt.Errorf("open archive s3://%s: %w: credentials do not belong there; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile", u.Host, objstore.ErrURL)
	}
	place := "s3://" + u.Host + u.Path // a query may hold a secret that somebody put there
	prefix := strings.Trim(u.Path, "/")
	if u.Host == "" || slices.Contains(strings.Split(prefix, "/"), "..") {
		return nil, fmt.Errorf("open archive %s: %w: want s3://bucket/prefix", place, objstore.ErrURL)
	}
	p, err := parse(u.Query())
	if err != nil {
		return nil, fmt.Errorf("open archive %s: %w: %w", place, objstore.ErrURL, err)
	}
	client, err := connect(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("open archive %s: %w", place, err)
	}
	b := &Bucket{client: client, name: u.Host}
	if prefix != "" {
		b.prefix = prefix + "/"
	}
	b.checksum.Store(p.checksum)
	return b, nil
}

func parse(q url.Values) (params, error) {
	p := params{region: q.Get("region"), endpoint: q.Get("endpoint")}
	p.pathStyle, p.checksum = p.endpoint != "", p.endpoint == ""
	for name, values := range q {
		var err error
		switch name {
		case "region", "endpoint":
		case "path_style":
			p.pathStyle, err = strconv.ParseBool(values[0])
		case "checksum":
			p.checksum, err = strconv.ParseBool(values[0])
		default:
			return p, fmt.Errorf("unknown parameter %q: there are region, endpoint, path_style and checksum", name)
		}
		if err != nil {
			return p, fmt.Errorf("parameter %s: want true or false", name)
		}
	}
	if p.endpoint != "" {
		e, err := url.Parse(p.endpoint)
		if err != nil || e.Host == "" || e.User != nil || e.Scheme != "http" && e.Scheme != "https" {
			return p, fmt.Errorf("parameter endpoint is not a URL such as https://s3.example.net:9000")
		}
	}
	return p, nil
}

func connect(ctx context.Context, p params) (*s3.Client, error) {
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.TLSHandshakeTimeout = connectTimeout
		t.ResponseHeaderTimeout = replyTimeout
		t.ForceAttemptHTTP2 = false
	})
	transport = transport.WithDialerOptions(dialTimeout)
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(transport), config.WithRetryer(func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = attempts, maxBackoff })
	}))
	if err != nil {
		return nil, fmt.Errorf("read AWS settings: %w", err)
	}
	if p.region != "" {
		cfg.Region = p.region
	}
	if cfg.Region == "" && p.endpoint != "" {
		cfg.Region = "us-east-1" // other stores accept it, and a signature needs one
	}
	if cfg.Region == "" {
		return nil, fmt.Errorf("region is missing: add ?region=… to the URL, or set AWS_REGION")
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("find AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile: %w", err)
	}
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = p.pathStyle
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if p.endpoint != "" {
			o.BaseEndpoint = &p.endpoint
		}
	}), nil
}
