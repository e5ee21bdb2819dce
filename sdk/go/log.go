//go:build !wasip1

package flocker

import (
	"fmt"
	"os"
)

// Log writes a line to the node's log. A few per decision are kept, a flood is not.
func Log(format string, arguments ...any) { fmt.Fprintf(os.Stderr, "info: "+format+"\n", arguments...) }

// Warn is Log for what an operator should look at.
func Warn(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "warn: "+format+"\n", arguments...)
}

// Count adds to a metric of the node's.
func Count(string, uint64) {}
