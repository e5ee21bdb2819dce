//go:build !wasip1

package backups

// Off the node, in tests, nobody asks.
func export() {}
