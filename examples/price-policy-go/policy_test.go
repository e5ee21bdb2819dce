package main

import (
	"testing"

	"flocker"
)

var cluster = flocker.Sample(flocker.Rows{
	"nodes": {
		{"name": "cheap", "label:price": "0.25"},
		{"name": "large", "label:size": "large"},
		{"name": "shared", "label:size": "large", "apps": 4},
		{"name": "spot", "label:price": "0.1", "label:spot": ""},
		{"name": "wrong", "label:price": "-1"},
	},
})

func TestScore(t *testing.T) {
	p := &price{settings{Most: 1, Prices: map[string]float64{"large": 0.5}}}
	here := cluster.Node("shared")
	for _, c := range []struct {
		node    string
		request flocker.Request
		points  int32
	}{
		{"cheap", flocker.Request{}, 7500},
		{"large", flocker.Request{}, 5000},
		{"shared", flocker.Request{}, 9000},
		// One of the four is the app itself.
		{"shared", flocker.Request{At: &here}, 8750},
		{"spot", flocker.Request{}, 9000},
		{"spot", flocker.Request{Labels: map[string]string{"spot": "no"}}, -1},
		{"wrong", flocker.Request{}, 0},
	} {
		if score := p.Score(cluster.Node(c.node), &c.request); score.Points != c.points {
			t.Errorf("%s for %+v: %+v, not %d", c.node, c.request, score, c.points)
		}
	}
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, bad := range []string{`{"most": 0}`, `{"most": "1"}`, `{"mots": 1}`, `{`} {
		if configure([]byte(bad)) == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
