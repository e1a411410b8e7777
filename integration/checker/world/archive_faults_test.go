package world

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// through starts faults in front of a server that counts what it performs.
func through(t *testing.T) (*ArchiveFaults, *atomic.Int64, func(method string) (int, error)) {
	t.Helper()
	var performed atomic.Int64
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil || r.Host != "signed.example:1234" || r.URL.RequestURI() != "/archive/a%20b%2Bc?list-type=2&prefix=x%2Fy" || r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%q, %v, host %s, path %s, %v", text, err, r.Host, r.URL.RequestURI(), r.Header)
		}
		performed.Add(1)
	}))
	t.Cleanup(store.Close)
	f, err := newArchiveFaults(t.Context(), store.Listener.Addr().String())
	must(t, err)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := f.close(); err != nil {
			t.Error(err)
		}
	})
	return f, &performed, func(method string) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+f.address+"/archive/a%20b%2Bc?list-type=2&prefix=x%2Fy", strings.NewReader("text"))
		must(t, err)
		r.Host = "signed.example:1234"
		r.Header.Set("Accept-Encoding", "identity")
		answer, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode, err
	}
}

func TestArchiveFaults(t *testing.T) {
	f, performed, ask := through(t)
	r := rand.New(rand.NewPCG(1, 1))
	passes := func(when string) {
		t.Helper()
		before := performed.Load()
		if code, err := ask(http.MethodPut); code != http.StatusOK || err != nil || performed.Load() != before+1 {
			t.Errorf("%s: %d, %v", when, code, err)
		}
	}
	passes("at first")

	f.Answer503(1, r)
	before := performed.Load()
	if code, err := ask(http.MethodGet); code != http.StatusServiceUnavailable || err != nil || performed.Load() != before {
		t.Errorf("answer 503: %d, %v", code, err)
	}
	f.Heal()
	passes("after 503")

	f.LoseReply(1, r)
	before = performed.Load()
	if code, err := ask(http.MethodPut); err == nil {
		t.Errorf("a lost reply is %d", code)
	}
	// Go's client repeats none of these.
	if performed.Load() != before+1 {
		t.Errorf("performed %d times", performed.Load()-before)
	}
	if code, err := ask(http.MethodGet); code != http.StatusOK || err != nil {
		t.Errorf("reading while replies are lost: %d, %v", code, err)
	}
	f.Heal()
	passes("after a lost reply")

	f.Stall(time.Minute)
	time.AfterFunc(100*time.Millisecond, f.Heal)
	begin := time.Now()
	passes("stalled until healed")
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("a stall of %v", took)
	}
	if got := f.Struck(); got != 3 {
		t.Errorf("%d requests were hit", got)
	}
}

func TestTheSeedChoosesRequests(t *testing.T) {
	f, _, ask := through(t)
	pattern := func() (out []int) {
		f.Answer503(0.5, rand.New(rand.NewPCG(7, 7)))
		for range 30 {
			code, err := ask(http.MethodGet)
			must(t, err)
			out = append(out, code)
		}
		return out
	}
	first, second := pattern(), pattern()
	refused := 0
	for i := range first {
		if first[i] != second[i] {
			t.Fatalf("the same seed gave %v and %v", first, second)
		}
		if first[i] == http.StatusServiceUnavailable {
			refused++
		}
	}
	if refused < 5 || refused > 25 {
		t.Errorf("%d of 30 were refused", refused)
	}
}
