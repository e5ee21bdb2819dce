package flocker

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Decode reads settings into a pointer to a struct. A setting that the struct does not have is an error, so that nobody
// believes that a setting works that nothing reads.
func Decode(settings []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(settings))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// configure hands settings to the policy.
func configure(settings []byte) error {
	switch trimmed := string(bytes.TrimSpace(settings)); {
	case info.Configure != nil && trimmed == "":
		return info.Configure([]byte("{}"))
	case info.Configure != nil:
		return info.Configure(settings)
	case trimmed == "" || trimmed == "{}":
		return nil
	default:
		return errors.New("this policy has no settings")
	}
}
