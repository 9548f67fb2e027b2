package helm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// deployments gives those of a release.
func (r release) deployments(t *testing.T) []appsv1.Deployment {
	t.Helper()
	var found []appsv1.Deployment
	for _, o := range r.objects {
		if o.kind != "Deployment" {
			continue
		}
		var d appsv1.Deployment
		if err := o.into(&d); err != nil {
			t.Fatal(err)
		}
		found = append(found, d)
	}
	return found
}

func TestServersAreProbedAndStoppedAsTheyExpect(t *testing.T) {
	t.Parallel()
	eachSet(t, readChart(t), func(t *testing.T, _ set, r release) {
		for _, d := range r.deployments(t) {
			c := d.Spec.Template.Spec.Containers[0]
			for _, probe := range []struct {
				name, path     string
				probe          *corev1.Probe
				period, misses int32
			}{
				{"startup", "/livez", c.StartupProbe, 2, 30},
				{"liveness", "/livez", c.LivenessProbe, 10, 3},
				{"readiness", "/readyz", c.ReadinessProbe, 2, 2},
			} {
				p := probe.probe
				if p == nil || p.HTTPGet == nil || p.HTTPGet.Path != probe.path || p.HTTPGet.Port.StrVal != "metrics" ||
					p.PeriodSeconds != probe.period || p.FailureThreshold != probe.misses {
					t.Errorf("%s: %s probe: %v", d.Name, probe.name, p)
				}
			}
			if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Sleep == nil || c.Lifecycle.PreStop.Sleep.Seconds != 5 {
				t.Errorf("%s: preStop: %v", d.Name, c.Lifecycle)
			}
			if isNot(d.Spec.Template.Spec.TerminationGracePeriodSeconds, 60) {
				t.Errorf("%s: has no 60 s to stop", d.Name)
			}
		}
	})
}

func TestBudgetsAndReplicasFollowTheSet(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	for _, c := range []struct{ name, over, want string }{
		{"default", "", "api 2 budget spread; worker 2 budget spread"},
		{"one each", "api: {replicas: 1}\nworker: {replicas: 1}", "api 1 spread; worker 1 spread"},
		{"api scaled", "autoscaling: {api: {enabled: true}}\napi: {replicas: 1}", "api scaled 2-6 budget spread; worker 2 budget spread"},
		{"worker scaled", "autoscaling: {worker: {source: cpu, maxReplicas: 9}}", "api 2 budget spread; worker scaled 2-9 budget spread"},
		{"scaled elsewhere", "autoscaling: {worker: {source: external}}", "api 2 budget spread; worker elsewhere budget spread"},
		{"no budget, no spread", "podDisruptionBudget: {enabled: false}\nspread: {enabled: false}", "api 2; worker 2"},
		{"with the canary", "canary: {enabled: true, address: canary@probe.example.com}\nworker: {replicas: 5}", "api 2 budget spread; canary 1 spread; worker 5 budget spread"},
		{"embedded database", "database: {type: sqlite, existingSecret: ''}", "single 1 recreated"},
	} {
		r := mustRender(t, chart, minimal(t, c.over), cluster{})
		var got []string
		for _, d := range r.deployments(t) {
			got = append(got, describe(t, r, d))
		}
		if diff := cmp.Diff(c.want, strings.Join(got, "; ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// describe says in words how many of a server there are, and what looks after them.
func describe(t *testing.T, r release, d appsv1.Deployment) string {
	t.Helper()
	words := []string{strings.TrimPrefix(d.Name, "reset-passmend-")}
	amount := "elsewhere"
	if d.Spec.Replicas != nil {
		amount = strconv.Itoa(int(*d.Spec.Replicas))
	}
	budget := false
	for _, o := range r.objects {
		switch {
		case o.name != d.Name:
		case o.kind == "HorizontalPodAutoscaler":
			var h autoscalingv2.HorizontalPodAutoscaler
			if err := o.into(&h); err != nil {
				t.Fatal(err)
			}
			if h.Spec.ScaleTargetRef.Name != d.Name || isNot(h.Spec.Behavior.ScaleDown.StabilizationWindowSeconds, 300) || d.Spec.Replicas != nil {
				t.Errorf("%s: %v", o, h.Spec)
			}
			amount = fmt.Sprintf("scaled %d-%d", *h.Spec.MinReplicas, h.Spec.MaxReplicas)
		case o.kind == "PodDisruptionBudget":
			var b policyv1.PodDisruptionBudget
			if err := o.into(&b); err != nil {
				t.Fatal(err)
			}
			budget = b.Spec.MaxUnavailable.IntVal == 1 && *b.Spec.UnhealthyPodEvictionPolicy == policyv1.AlwaysAllow &&
				selects(t, b.Spec.Selector, d.Spec.Template.Labels)
		}
	}
	words = append(words, amount)
	if budget {
		words = append(words, "budget")
	}
	if len(d.Spec.Template.Spec.TopologySpreadConstraints) == 2 && d.Spec.Template.Spec.Affinity.PodAntiAffinity != nil {
		words = append(words, "spread")
	}
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		words = append(words, "recreated")
	}
	return strings.Join(words, " ")
}

func selects(t *testing.T, selector *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(of))
}

// Whatever the memory, what a process may use leaves the plugins theirs, and a limit
// that cannot hold the hashes is refused: see refused.yaml.
func TestMemoryFollowsTheFormula(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	for _, c := range []struct {
		over string
		want map[string]string
	}{
		{"", map[string]string{"api": "273MiB", "worker": "504MiB"}}, // 0.9 * (512 - 3*64 - 16), 0.9 * (768 - 3*64 - 16)
		{"api: {gomaxprocs: 4, resources: {limits: {memory: 1Gi}}}", map[string]string{"api": "734MiB", "worker": "504MiB"}},
		{"worker: {resources: {limits: {memory: 304Mi}}}", map[string]string{"api": "273MiB", "worker": "86MiB"}}, // the least: 96 + 208
		{"plugins: {memoryEach: 128Mi}\nwritable: {socketsSize: 32Mi}\napi: {resources: {limits: {memory: 1Gi}}}", map[string]string{"api": "547MiB", "worker": "316MiB"}},
		{"api: {gomaxprocs: 21, resources: {limits: {memory: 703Mi}}}", map[string]string{"api": "445MiB", "worker": "504MiB"}}, // 96 + 21*19 + 208
	} {
		got := make(map[string]string)
		for _, d := range mustRender(t, chart, minimal(t, c.over), cluster{}).deployments(t) {
			for _, variable := range d.Spec.Template.Spec.Containers[0].Env {
				if variable.Name == "GOMEMLIMIT" {
					got[strings.TrimPrefix(d.Name, "reset-passmend-")] = variable.Value
				}
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.over, diff)
		}
	}
	if _, err := chart.render(minimal(t, "api: {gomaxprocs: 21, resources: {limits: {memory: 702Mi}}}"), cluster{}); err == nil {
		t.Error("a limit of one MiB too little comes through")
	}
}

func TestAnEmbeddedDatabaseHasOneServerAndOneVolume(t *testing.T) {
	t.Parallel()
	eachSet(t, readChart(t), func(t *testing.T, s set, r release) {
		database, _ := s.values["database"].(map[string]any)
		if database["type"] != "sqlite" {
			return
		}
		servers := r.deployments(t)
		if len(servers) != 1 || isNot(servers[0].Spec.Replicas, 1) || servers[0].Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
			t.Errorf("its servers are %v", servers)
		}
		for _, o := range r.objects {
			if slices.Contains([]string{"Job", "HorizontalPodAutoscaler", "PodDisruptionBudget"}, o.kind) {
				t.Errorf("%s has no place here", o)
			}
			var claim corev1.PersistentVolumeClaim
			if o.kind != "PersistentVolumeClaim" {
				continue
			}
			if err := o.into(&claim); err != nil || !slices.Equal(claim.Spec.AccessModes, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}) ||
				claim.Annotations["helm.sh/resource-policy"] != "keep" {
				t.Errorf("%s: %v, %v", o, claim.Spec, err)
			}
		}
	})
}

// What pods name is there: their volumes, the release's own objects, and labels that
// selectors of the release find.
func TestNothingHangsInTheAir(t *testing.T) {
	t.Parallel()
	eachSet(t, readChart(t), func(t *testing.T, _ set, r release) {
		pods, err := r.pods()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pods {
			for _, missing := range dangling(p) {
				t.Errorf("%s: %s", p.owner, missing)
			}
		}
		for _, o := range r.objects {
			if len(o.name) > 63 {
				t.Errorf("%s: its name is longer than 63", o)
			}
		}
		for _, d := range r.deployments(t) {
			if !selects(t, d.Spec.Selector, d.Spec.Template.Labels) {
				t.Errorf("%s does not select its own pods", d.Name)
			}
		}
		for _, service := range r.services(t) {
			if !slices.ContainsFunc(pods, func(p pod) bool {
				return strings.HasPrefix(p.owner, "Deployment/") && labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(p.Labels)) && offers(p, service)
			}) {
				t.Errorf("Service/%s leads nowhere", service.Name)
			}
		}
	})
}

// offers says whether a pod has every port that a Service leads to.
func offers(p pod, s corev1.Service) bool {
	return !slices.ContainsFunc(s.Spec.Ports, func(port corev1.ServicePort) bool {
		return !slices.ContainsFunc(p.Spec.Containers[0].Ports, func(c corev1.ContainerPort) bool { return c.Name == port.TargetPort.StrVal })
	})
}

// dangling is what a pod names and does not have, or has and does not use.
func dangling(p pod) []string {
	var found []string
	mounted := make(map[string]bool)
	for _, c := range p.containers() {
		for _, mount := range c.VolumeMounts {
			mounted[mount.Name] = true
			if !slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name }) {
				found = append(found, c.Name+" mounts "+mount.Name+", which is no volume")
			}
		}
	}
	for _, v := range p.Spec.Volumes {
		if !mounted[v.Name] {
			found = append(found, v.Name+" is mounted nowhere")
		}
	}
	return found
}

func (r release) services(t *testing.T) []corev1.Service {
	t.Helper()
	var found []corev1.Service
	for _, o := range r.objects {
		if o.kind != "Service" {
			continue
		}
		var s corev1.Service
		if err := o.into(&s); err != nil {
			t.Fatal(err)
		}
		found = append(found, s)
	}
	return found
}

func TestTheOperationsPortIsNotOnThePublicService(t *testing.T) {
	t.Parallel()
	eachSet(t, readChart(t), func(t *testing.T, _ set, r release) {
		for _, s := range r.services(t) {
			for _, port := range s.Spec.Ports {
				if strings.HasSuffix(s.Name, "-canary") && port.TargetPort.StrVal == "canary" && port.Port == 25 {
					continue // it takes mail
				}
				public := s.Spec.ClusterIP != "None"
				if public && (port.TargetPort.StrVal != "http" || port.Port == 9090) || !public && port.TargetPort.StrVal != "metrics" {
					t.Errorf("Service/%s: %v", s.Name, port)
				}
			}
		}
	})
}

func TestMonitoringIsThereForThoseWhoKnowIt(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	for _, c := range []struct {
		over string
		on   cluster
		want []string
	}{
		{"", cluster{}, nil},
		{"", cluster{operator: true}, []string{"PodMonitor", "PrometheusRule"}},
		{"monitoring: {objects: always}", cluster{}, []string{"PodMonitor", "PrometheusRule"}},
		{"monitoring: {objects: never}", cluster{operator: true}, nil},
		{"monitoring: {podMonitor: {enabled: false}, serviceMonitor: {enabled: true}, prometheusRule: {enabled: false}}", cluster{operator: true}, []string{"ServiceMonitor"}},
	} {
		var got []string
		for _, o := range mustRender(t, chart, minimal(t, c.over), c.on).objects {
			if o.get("apiVersion") == "monitoring.coreos.com/v1" {
				got = append(got, o.kind)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s on %+v (-want +got):\n%s", c.over, c.on, diff)
		}
	}
	// Without a file there is no empty rule either.
	for path := range chart {
		if strings.HasPrefix(path, copies) {
			delete(chart, path)
		}
	}
	for _, o := range mustRender(t, chart, minimal(t, ""), cluster{operator: true}).objects {
		if o.kind == "PrometheusRule" || strings.HasSuffix(o.name, "-dashboards") {
			t.Errorf("%s without a file", o)
		}
	}
}
