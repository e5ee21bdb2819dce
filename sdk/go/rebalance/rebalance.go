// Package rebalance exports the hook that says which apps had better be elsewhere.
package rebalance

import "flocker"

var policy flocker.Rebalance

// Export lets the node ask the policy. Called once, from an init function.
func Export(of flocker.Rebalance) {
	policy = of
	export()
}
