package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"tidemark/internal/objstore"
)

// denied lists error codes that no retry mends whatever status they come with. transient lists codes that come with a
// status of refusal but pass: credentials that are being renewed, a clock that is being set.
var (
	denied = map[string]bool{
		"NoSuchBucket": true, "InvalidBucketName": true, "AccessDenied": true, "AllAccessDisabled": true, "AccountProblem": true,
		"InvalidAccessKeyId": true, "SignatureDoesNotMatch": true, "PermanentRedirect": true, "AuthorizationHeaderMalformed": true,
		"MethodNotAllowed": true, "InvalidObjectState": true, "NotImplemented": true,
	}
	transient = map[string]bool{
		"RequestTimeTooSkewed": true, "ExpiredToken": true, "TokenRefreshRequired": true, "RequestExpired": true, "SlowDown": true,
	}
)

// explain gives a store's error in one short line, wrapping what callers decide on. The SDK's own text repeats the
// operation, host and request ids.
func explain(what, key string, err error) error {
	if err == nil {
		return nil
	}
	code, message := answer(err)
	status := statusOf(err)
	switch class := classOf(code, status); {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s %s: %w", what, key, contextOf(err))
	case class != nil && status != 0:
		return fmt.Errorf("%s %s: %w: %s %s (HTTP %d)", what, key, class, code, message, status)
	case status != 0:
		return fmt.Errorf("%s %s: object store answers %s %s (HTTP %d)", what, key, code, message, status)
	}
	if network, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("%s %s: reach object store: %w", what, key, network.Err)
	}
	return fmt.Errorf("%s %s: %w", what, key, err)
}

func contextOf(err error) error {
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return context.DeadlineExceeded
}

func classOf(code string, status int) error {
	switch {
	case transient[code]:
		return nil
	case status == http.StatusPreconditionFailed:
		return objstore.ErrExists
	case denied[code], status == http.StatusForbidden, status == http.StatusUnauthorized, status == http.StatusMovedPermanently:
		return objstore.ErrDenied
	case status == http.StatusNotFound:
		return objstore.ErrNotFound
	}
	return nil
}

func answer(err error) (code, message string) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return "", ""
	}
	message, _, _ = strings.Cut(api.ErrorMessage(), "\n")
	return api.ErrorCode(), message
}

func statusOf(err error) int {
	var reply *awshttp.ResponseError
	if errors.As(err, &reply) && reply.Response != nil {
		return reply.HTTPStatusCode()
	}
	return 0
}

func isConflict(err error) bool { return statusOf(err) == http.StatusConflict }

// wantsChecksum recognises a store that takes no object without a checksum: a bucket with Object Lock. The stores have no
// common code for it, but all name one of the two headers.
func wantsChecksum(err error) bool {
	if statusOf(err) != http.StatusBadRequest {
		return false
	}
	code, message := answer(err)
	text := strings.ToLower(code + " " + message)
	return strings.Contains(text, "content-md5") || strings.Contains(text, "contentmd5") || strings.Contains(text, "x-amz-checksum")
}

// place names an object for messages, bucket included: a wrong bucket is the commonest refusal.
func (b *Bucket) place(key string) string { return "s3://" + b.name + "/" + b.prefix + key }
