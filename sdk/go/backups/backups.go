// Package backups exports the hook that says what is snapshotted when, and which copies may go.
package backups

import "flocker"

var policy flocker.Backups

// Export lets the node ask the policy. Called once, from an init function.
func Export(of flocker.Backups) {
	policy = of
	export()
}
