// price keeps apps on the cheapest nodes that they fit on.
//
// A node says what it costs by a label, `price`: money per hour. Only what an app would add counts, so a node that is paid
// for anyway, because others are on it, is cheaper than an empty one. An app with the label `spot=no` is not put on nodes
// that the provider may take away, which have the label `spot`.
//
// Settings: {"most": 4.0, "prices": {"large": 2.5}}; `most` is the price per hour that is as bad as it gets, and `prices`
// are those of nodes that have a label `size` in place of a price.
package main

import (
	_ "embed"
	"errors"
	"strconv"

	"flocker"
	"flocker/placement"
)

//go:embed settings.json
var schema string

type settings struct {
	Most   float64            `json:"most"`
	Prices map[string]float64 `json:"prices"`
}

type price struct{ settings }

// emptyShare is the part of a node's price that its first app has to bear; the more neighbours, the less is left for one.
func emptyShare(node flocker.Node, request *flocker.Request) float64 {
	neighbours := node.Apps()
	if request.IsAt(node) && neighbours > 0 {
		neighbours-- // the app itself
	}
	return 1 / float64(1+neighbours)
}

func (p *price) of(node flocker.Node) (float64, bool) {
	if label, ok := node.Label("price"); ok {
		price, err := strconv.ParseFloat(label, 64)
		return price, err == nil && price >= 0
	}
	size, _ := node.Label("size")
	price, ok := p.Prices[size]
	return price, ok
}

// Score is better the less the node costs.
func (p *price) Score(node flocker.Node, request *flocker.Request) flocker.Score {
	if _, spot := node.Label("spot"); spot && request.Labels["spot"] == "no" {
		return flocker.Refuse("it may be taken away, and `%s` says spot=no", request.Name)
	}
	whole, ok := p.of(node)
	if !ok {
		return flocker.Good(0).Because("its price is not known")
	}
	added := whole * emptyShare(node, request)
	left := max(p.Most-added, 0)
	return flocker.Good(uint64(left/p.Most*flocker.ScoreMax)).Because("%.2f per hour more", added)
}

var policy = &price{settings{Most: 1}}

func configure(json []byte) error {
	read := settings{Most: 1}
	if err := flocker.Decode(json, &read); err != nil {
		return err
	}
	if read.Most <= 0 {
		return errors.New("`most` has to be more than 0")
	}
	policy.settings = read
	return nil
}

func init() {
	flocker.Register(flocker.Info{Name: "price", Version: "0.1.0", Schema: schema, Configure: configure})
	placement.Export(policy)
}

func main() {}
