package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"go.uber.org/goleak"

	"tidemark/internal/objstore"
	"tidemark/internal/objstore/objstoretest"
	"tidemark/internal/objstore/s3/s3test"
)

func TestMain(m *testing.M) {
	// The HTTP client keeps connections for later requests.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

func open(t testing.TB, text string) *Bucket {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	server := s3test.Start(t)
	objstoretest.Run(t, func(t *testing.T) objstore.Bucket {
		b := open(t, server.Bucket(t))
		b.page = 3 // so that listings take several requests
		return b
	})
}

func TestPrefixesAreApart(t *testing.T) {
	server := s3test.Start(t)
	name := server.NewBucket(t, false)
	for _, prefix := range []string{"", "a", "ab/c/"} {
		b := open(t, server.URL(name, prefix))
		if err := b.Create(t.Context(), "k", []byte(prefix)); err != nil {
			t.Fatal(err)
		}
	}
	if got := objstoretest.Keys(t, open(t, server.URL(name, "a")), "", ""); !slices.Equal(got, []string{"k"}) {
		t.Errorf("prefix a lists %v", got)
	}
	if got := objstoretest.Keys(t, open(t, server.URL(name, "")), "", ""); !slices.Equal(got, []string{"a/k", "ab/c/k", "k"}) {
		t.Errorf("whole bucket lists %v", got)
	}
}

// TestObjectLock has a bucket that keeps every object: the self-test passes although its probe cannot be removed.
func TestObjectLock(t *testing.T) {
	server := s3test.Start(t)
	name := server.NewBucket(t, true)
	days := int32(1)
	_, err := server.Client().PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{
		Bucket: &name,
		ObjectLockConfiguration: &types.ObjectLockConfiguration{
			ObjectLockEnabled: types.ObjectLockEnabledEnabled,
			Rule:              &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeCompliance, Days: &days}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, server.URL(name, "p"))
	if err := objstore.SelfTest(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	t.Logf("checksum header after the self-test: %v", b.checksum.Load())
}

func TestDenied(t *testing.T) {
	server := s3test.Start(t)
	absent := open(t, server.URL("no-such-bucket", "p"))
	wrong := server.URL(server.NewBucket(t, false), "p")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	for name, b := range map[string]*Bucket{"no such bucket": absent, "wrong secret": open(t, wrong)} {
		if err := b.Create(t.Context(), "k", nil); !errors.Is(err, objstore.ErrDenied) {
			t.Errorf("%s: create: %v, want ErrDenied", name, err)
		}
		if _, err := b.Get(t.Context(), "k"); !errors.Is(err, objstore.ErrDenied) {
			t.Errorf("%s: get: %v, want ErrDenied", name, err)
		}
		for _, err := range b.List(t.Context(), "", "") {
			if !errors.Is(err, objstore.ErrDenied) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: list: %v, want ErrDenied in one line", name, err)
			}
		}
	}
}

func TestUnreachableIsTransient(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	err := open(t, "s3://b/p?endpoint="+server.URL).Create(t.Context(), "k", nil)
	if err == nil || errors.Is(err, objstore.ErrDenied) || errors.Is(err, objstore.ErrExists) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("create: %v, want a transient error that says what happened", err)
	}
}

// between puts a proxy between client and store.
func between(t *testing.T, target, bucketURL string, bend func(*http.Response) error) *Bucket {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host },
		ModifyResponse: bend,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return open(t, strings.Replace(bucketURL, url.QueryEscape(target), url.QueryEscape(server.URL), 1))
}

// TestLostReply drops the reply to the first write: the SDK writes again and meets its own object.
func TestLostReply(t *testing.T) {
	server := s3test.Start(t)
	var puts atomic.Int32
	b := between(t, server.Endpoint, server.Bucket(t), func(r *http.Response) error {
		if r.Request.Method == http.MethodPut && puts.Add(1) == 1 {
			return errors.New("reply lost")
		}
		return nil
	})
	if err := b.Create(t.Context(), "k", []byte("mine")); !errors.Is(err, objstore.ErrExists) {
		t.Errorf("create: %v, want ErrExists", err)
	}
	if got := objstoretest.Read(t, b, "k"); string(got) != "mine" {
		t.Errorf("object holds %q", got)
	}
}

func TestAnswers(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t)
	for _, test := range []struct {
		name, code string
		status     int
		times      int32
		want       error // nil: the create succeeds in the end
	}{
		{"conflict passes", "ConditionalRequestConflict", 409, 3, nil},
		{"busy passes", "SlowDown", 503, 2, nil},
		{"asks for a checksum", "InvalidRequest", 400, 1, nil},
		{"clock skew is transient", "RequestTimeTooSkewed", 403, 99, errTransient},
		{"refused", "AccessDenied", 403, 99, objstore.ErrDenied},
		{"busy stays", "InternalError", 500, 99, errTransient},
	} {
		t.Run(test.name, func(t *testing.T) {
			var left atomic.Int32
			left.Store(test.times)
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if left.Add(-1) < 0 {
					u, _ := url.Parse(server.Endpoint)
					p := httputil.NewSingleHostReverseProxy(u)
					p.ServeHTTP(w, r)
					return
				}
				w.WriteHeader(test.status)
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>Content-MD5 or x-amz-checksum- is required</Message></Error>", test.code)
			}))
			defer front.Close()
			b := open(t, strings.Replace(bucket, url.QueryEscape(server.Endpoint), url.QueryEscape(front.URL), 1))
			err := b.Create(t.Context(), test.name, nil)
			switch {
			case errors.Is(test.want, errTransient):
				if err == nil || errors.Is(err, objstore.ErrDenied) || !strings.Contains(err.Error(), test.code) {
					t.Errorf("create: %v, want a transient error that names %s", err, test.code)
				}
			case !errors.Is(err, test.want):
				t.Errorf("create: %v, want %v", err, test.want)
			}
		})
	}
}

var errTransient = errors.New("transient")

func TestTruncatedBody(t *testing.T) {
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("short"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer front.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	r, err := open(t, "s3://b/p?endpoint="+front.URL).Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	buf := make([]byte, 64)
	for err == nil {
		_, err = r.Read(buf)
	}
	if err.Error() == "EOF" {
		t.Error("a short body reads as whole")
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("HOME", t.TempDir())
	for text, want := range map[string]string{
		"s3:///prefix":                                 "want s3://bucket/prefix",
		"s3://b/../c?region=x":                         "want s3://bucket/prefix",
		"s3://key:secret@b/p":                          "credentials do not belong",
		"s3://b/p?regoin=x":                            "regoin",
		"s3://b/p?path_style=maybe":                    "want true or false",
		"s3://b/p?endpoint=host:9000":                  "endpoint is not a URL",
		"s3://b/p?password=secret":                     "password",
		"s3://b/p?endpoint=http://u:secret@h":          "endpoint is not a URL",
		"s3://b/p?endpoint=http://h/secret%25zz":       "endpoint is not a URL",
		"s3://b/../p?password=secret":                  "want s3://bucket/prefix",
		"s3://b/p?region=&endpoint=&path_style=secret": "want true or false",
		"s3://b/p": "region is missing",
		"s3://b/p?region=x&endpoint=http://127.0.0.1:1": "AWS_ACCESS_KEY_ID",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), u); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("open %s: %v, want %q", text, err, want)
		}
	}
}
