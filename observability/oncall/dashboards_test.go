package oncall

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// dashboard is what is looked at of one of Grafana's.
type dashboard struct {
	UID        string  `json:"uid"`
	Title      string  `json:"title"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct{ Name, Type string } `json:"list"`
	} `json:"templating"`
}

type source struct{ Type, UID string }

type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  source `json:"datasource"`
	GridPos     struct {
		X, Y, W, H int
	} `json:"gridPos"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Targets []struct {
		RefID string `json:"refId"`
		Expr  string `json:"expr"`
	} `json:"targets"`
}

// query is one that something on call asks, and where it stands.
type query struct{ where, expr string }

func (d dashboard) queries() (all []query) {
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, query{fmt.Sprintf("%s, %s, %s", d.UID, p.Title, target.RefID), target.Expr})
		}
	}
	return all
}

// readDashboards gives them by uid. There are four.
func readDashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	boards := make(map[string]dashboard)
	for _, path := range glob(t, panels+"/*.json") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var board dashboard
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		boards[board.UID] = board
	}
	if len(boards) != 4 {
		t.Fatalf("there are %d dashboards, not 4", len(boards))
	}
	return boards
}

func TestEveryPanelSaysWhatItShows(t *testing.T) {
	t.Parallel()
	for _, board := range readDashboards(t) {
		var variables []string
		for _, variable := range board.Templating.List {
			variables = append(variables, variable.Name+" "+variable.Type)
		}
		if got := strings.Join(variables, ", "); got != "datasource datasource, namespace query" {
			t.Errorf("%s: its variables are %s", board.UID, got)
		}
		for _, fault := range board.faults() {
			t.Errorf("%s: %s", board.UID, fault)
		}
	}
	// The control: all that can be wrong, at once.
	var bad dashboard
	if err := json.Unmarshal([]byte(`{"panels": [
		{"id": 1, "type": "row", "title": "Row", "gridPos": {"x": 0, "y": 0, "w": 24, "h": 1}},
		{"id": 1, "type": "stat", "gridPos": {"x": 20, "y": 0, "w": 8, "h": 4}, "datasource": {"type": "prometheus", "uid": "P1"},
		 "targets": [{"refId": "A", "expr": "sum(passmend_x)"}]}]}`), &bad); err != nil {
		t.Fatal(err)
	}
	if faults := bad.faults(); len(faults) != 8 {
		t.Errorf("of a bad one these are found: %q", faults)
	}
}

func (d dashboard) faults() (faults []string) {
	ids := make(map[int]bool)
	taken := make(map[[2]int]string)
	for _, p := range d.Panels {
		say := func(fault string) { faults = append(faults, fmt.Sprintf("%q: %s", p.Title, fault)) }
		if ids[p.ID] {
			say("its id is another's")
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 {
			say("it sticks out")
		}
		overlaps := ""
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, there := taken[[2]int{x, y}]; there {
					overlaps = other
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if overlaps != "" {
			say("it lies over " + overlaps)
		}
		if p.Title == "" {
			say("it has no title")
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" {
			say("it has no description")
		}
		if p.FieldConfig.Defaults.Unit == "" {
			say("it has no unit")
		}
		if p.Datasource != (source{"prometheus", "${datasource}"}) {
			say("its data source is not the variable")
		}
		if len(p.Targets) == 0 {
			say("it asks nothing")
		}
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, `namespace=~"$namespace"`) && !strings.Contains(target.Expr, `ALERTS{`) {
				say("it does not heed the namespace: " + target.Expr)
			}
		}
	}
	return faults
}
