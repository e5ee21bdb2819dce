//go:build wasip1

package placement

import (
	"strings"
	"unsafe"

	"flocker"
	"flocker/internal/abi"
	"flocker/internal/table"
)

func export() {}

//go:wasmexport flocker:plugin/placement@0.1.0#evaluate
func evaluate(arguments unsafe.Pointer) unsafe.Pointer {
	asked := (*abi.Evaluate)(arguments)
	return abi.Answer(asked.View, func() abi.Verdict {
		cluster := flocker.ClusterOf(table.Of(asked.View))
		candidates := asked.Candidates.Get()
		nodes := make([]flocker.Node, len(candidates))
		for i, row := range candidates {
			nodes[i] = cluster.NodeAt(row)
		}
		return verdict(candidates, scores(nodes, request(cluster, &asked.Request)))
	})
}

//go:wasmexport cabi_post_flocker:plugin/placement@0.1.0#evaluate
func done(unsafe.Pointer) { abi.Done() }

func request(cluster *flocker.Cluster, of *abi.Request) *flocker.Request {
	request := &flocker.Request{
		Name:      of.Name.Get(),
		Purpose:   of.Purpose.Get(),
		Memory:    of.MemoryBytes,
		Size:      of.SizeBytes,
		CPUMillis: of.CPUMillis,
		Volumes:   len(of.Volumes.Get()),
		Labels:    map[string]string{},
	}
	if row, ok := of.Current.Get(); ok {
		at := cluster.NodeAt(row)
		request.At = &at
	}
	for _, row := range of.Holders.Get() {
		request.Holders = append(request.Holders, cluster.NodeAt(row))
	}
	for _, attr := range of.Attrs.Get() {
		if key, ok := strings.CutPrefix(attr.Key.Get(), "label:"); ok {
			request.Labels[key] = attr.Value.Get()
		}
	}
	return request
}

func verdict(candidates []uint32, scores []flocker.Score) abi.Verdict {
	points := make([]int32, len(scores))
	var reasons []abi.Reason
	for i, score := range scores {
		points[i] = score.Points
		// More scores than candidates are refused by the host, in its own words.
		if score.Reason != "" && i < len(candidates) {
			reasons = append(reasons, abi.Reason{
				Candidate: candidates[i], Code: score.Code, Text: abi.Text(score.Reason),
			})
		}
	}
	return abi.Verdict{Scores: abi.ListOf(points), Reasons: abi.ListOf(reasons)}
}
