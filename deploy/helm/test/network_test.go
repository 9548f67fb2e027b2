package helm

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (r release) policies(t *testing.T) []networkingv1.NetworkPolicy {
	t.Helper()
	var found []networkingv1.NetworkPolicy
	for _, o := range r.objects {
		if o.kind != "NetworkPolicy" {
			continue
		}
		var p networkingv1.NetworkPolicy
		if err := o.into(&p); err != nil {
			t.Fatal(err)
		}
		found = append(found, p)
	}
	return found
}

// place is where a packet goes to or comes from: an address, or a pod by the labels
// of its namespace and its own.
type place struct {
	address             string
	namespace, podLabel map[string]string
}

func in(namespace string, podLabels map[string]string) place {
	return place{namespace: map[string]string{"kubernetes.io/metadata.name": namespace}, podLabel: podLabels}
}

// allows says whether policies let the pods of a component have a connection:
// whether one of them that selects these pods has a rule for place and port.
func allows(t *testing.T, policies []networkingv1.NetworkPolicy, p pod, way networkingv1.PolicyType, there place, port int32) bool {
	t.Helper()
	isolated := false
	for _, policy := range policies {
		if !selects(t, &policy.Spec.PodSelector, p.Labels) || !slices.Contains(policy.Spec.PolicyTypes, way) {
			continue
		}
		isolated = true
		for _, rule := range policy.Spec.Ingress {
			if way == networkingv1.PolicyTypeIngress && reaches(t, rule.From, there) && hasPort(rule.Ports, port) {
				return true
			}
		}
		for _, rule := range policy.Spec.Egress {
			if way == networkingv1.PolicyTypeEgress && reaches(t, rule.To, there) && hasPort(rule.Ports, port) {
				return true
			}
		}
	}
	return !isolated
}

func hasPort(ports []networkingv1.NetworkPolicyPort, port int32) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.IntVal == port })
}

func reaches(t *testing.T, peers []networkingv1.NetworkPolicyPeer, there place) bool {
	t.Helper()
	return len(peers) == 0 || slices.ContainsFunc(peers, func(peer networkingv1.NetworkPolicyPeer) bool {
		if peer.IPBlock != nil {
			return there.address != "" && inBlock(t, *peer.IPBlock, there.address)
		}
		whole := metav1.LabelSelector{}
		namespaces, pods := &whole, &whole
		if peer.NamespaceSelector != nil {
			namespaces = peer.NamespaceSelector
		}
		if peer.PodSelector != nil {
			pods = peer.PodSelector
		}
		return there.address == "" && selects(t, namespaces, there.namespace) && selects(t, pods, there.podLabel)
	})
}

func inBlock(t *testing.T, block networkingv1.IPBlock, address string) bool {
	t.Helper()
	contains := func(cidr string) bool {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			t.Fatal(err)
		}
		return prefix.Contains(netip.MustParseAddr(address))
	}
	return contains(block.CIDR) && !slices.ContainsFunc(block.Except, contains)
}

// server gives the pods of a component.
func (r release) server(t *testing.T, component string) pod {
	t.Helper()
	pods, err := r.pods()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if p.Labels["app.kubernetes.io/component"] == component {
			return p
		}
	}
	t.Fatalf("there is no %s", component)
	return pod{}
}

var (
	dns      = in("kube-system", map[string]string{"k8s-app": "kube-dns"})
	ingress  = in("ingress-nginx", map[string]string{"app": "controller"})
	scraper  = in("monitoring", nil)
	stranger = in("default", map[string]string{"app": "else"})
)

// passage is a connection that somebody may have or not.
type passage struct {
	way   networkingv1.PolicyType
	there place
	port  int32
}

const (
	inward  = networkingv1.PolicyTypeIngress
	outward = networkingv1.PolicyTypeEgress
)

func TestTheNetworkIsClosedButForWhatIsListed(t *testing.T) {
	t.Parallel()
	r := mustRender(t, readChart(t), minimal(t, `tracing: {endpoint: "http://otel:4317"}`), cluster{})
	for _, row := range []struct {
		passages []passage
		allowed  []string
	}{
		{[]passage{{inward, ingress, 8080}}, []string{"api"}},
		{[]passage{{inward, scraper, 9090}}, []string{"api", "worker"}},
		{[]passage{{inward, ingress, 9090}, {inward, scraper, 8080}, {inward, stranger, 8080}, {inward, stranger, 9090}, {inward, place{address: "203.0.113.7"}, 8080}}, nil},
		{[]passage{{outward, dns, 53}}, []string{"api", "migrate", "test", "worker"}},
		{[]passage{{outward, stranger, 53}, {outward, place{address: "8.8.8.8"}, 53}, {outward, dns, 80}}, nil},
		{[]passage{{outward, place{address: "10.0.0.5"}, 5432}}, []string{"api", "migrate", "worker"}},
		{[]passage{{outward, place{address: "203.0.113.7"}, 4317}}, []string{"api", "worker"}},
		{[]passage{{outward, place{address: "203.0.113.7"}, 25}, {outward, place{address: "203.0.113.7"}, 587}}, []string{"worker"}},
		{[]passage{{outward, place{address: "203.0.113.7"}, 443}, {outward, place{address: "2001:db8::1"}, 443}}, []string{"worker"}},
		{[]passage{{outward, place{address: "10.1.2.3"}, 443}, {outward, place{address: "172.31.0.1"}, 443}, {outward, place{address: "192.168.1.1"}, 443}, {outward, place{address: "100.64.0.1"}, 443},
			{outward, place{address: "169.254.169.254"}, 443}, {outward, place{address: "127.0.0.1"}, 443}, {outward, place{address: "fd00::1"}, 443},
			{outward, place{address: "fe80::1"}, 443}, {outward, place{address: "::1"}, 443}, {outward, place{address: "64:ff9b::a00:1"}, 443},
			{outward, stranger, 443}, {outward, place{address: "203.0.113.7"}, 80}, {outward, place{address: "203.0.113.7"}, 6443}}, nil},
	} {
		for _, p := range row.passages {
			var allowed []string
			for _, component := range []string{"api", "migrate", "test", "worker"} {
				if allows(t, r.policies(t), r.server(t, component), p.way, p.there, p.port) {
					allowed = append(allowed, component)
				}
			}
			if diff := cmp.Diff(row.allowed, allowed); diff != "" {
				t.Errorf("%v (-want +got):\n%s", p, diff)
			}
		}
	}
}

// The canary's pod takes mail and calls the API; it has what a worker has besides.
func TestTheCanaryIsReachedByMailAlone(t *testing.T) {
	t.Parallel()
	mail, api := in("mail", nil), in("accounts", map[string]string{
		"app.kubernetes.io/name": "passmend", "app.kubernetes.io/instance": "reset", "app.kubernetes.io/component": "api",
	})
	for name, c := range map[string]struct {
		over     string
		stranger bool
	}{
		"any address":   {"canary: {enabled: true, address: canary@probe.example.com}", true},
		"one namespace": {"canary: {enabled: true, address: canary@probe.example.com, inboxFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: mail}}}]}", false},
	} {
		r := mustRender(t, readChart(t), minimal(t, c.over), cluster{})
		policies, canary := r.policies(t), r.server(t, "canary")
		for _, row := range []struct {
			passage
			want bool
		}{
			{passage{inward, mail, 2526}, true}, {passage{inward, stranger, 2526}, c.stranger}, {passage{inward, mail, 9090}, false}, {passage{inward, scraper, 9090}, true},
			{passage{inward, mail, 8080}, false}, {passage{outward, api, 8080}, true}, {passage{outward, stranger, 8080}, false},
			{passage{outward, place{address: "10.0.0.5"}, 5432}, true}, {passage{outward, place{address: "203.0.113.7"}, 443}, true},
		} {
			if got := allows(t, policies, canary, row.way, row.there, row.port); got != row.want {
				t.Errorf("%s: %v: %t", name, row.passage, got)
			}
		}
		if allows(t, policies, r.server(t, "worker"), inward, mail, 2526) {
			t.Errorf("%s: mail reaches the workers", name)
		}
	}
}

func TestTheNetworkCanBeNarrowed(t *testing.T) {
	t.Parallel()
	values := readValues(t, "testdata/sets/network-narrow.yaml")
	r := mustRender(t, readChart(t), values, cluster{})
	worker := r.server(t, "worker")
	pooler := in("data", map[string]string{"cnpg.io/cluster": "passmend"})
	for _, c := range []struct {
		there place
		port  int32
		want  bool
	}{
		{pooler, 6432, true}, {pooler, 5432, false}, {stranger, 6432, false}, {place{address: "10.0.0.5"}, 6432, false},
		{place{address: "192.0.2.7"}, 587, true}, {place{address: "203.0.113.7"}, 587, false}, {place{address: "192.0.2.7"}, 25, false},
		{place{address: "203.0.113.7"}, 443, false}, {place{address: "10.20.0.1"}, 443, true}, {place{address: "10.20.0.1"}, 8443, true},
		{place{address: "169.254.20.10"}, 53, true},
	} {
		if got := allows(t, r.policies(t), worker, outward, c.there, c.port); got != c.want {
			t.Errorf("%v, port %d: %t", c.there, c.port, got)
		}
	}
}

// The control: without the default policy, or with one rule too many, more comes
// through.
func TestAnOpenNetworkIsFound(t *testing.T) {
	t.Parallel()
	chart := readChart(t)
	metadata := passage{outward, place{address: "169.254.169.254"}, 443}
	for name, open := range map[string]source{
		"no policies":  chart.edited(t, "templates/networkpolicy.yaml", "{{- if .Values.networkPolicy.enabled }}", "{{- if false }}"),
		"no exception": chart.edited(t, "templates/networkpolicy.yaml", ", except: {{ toJson $policy.https.except }}", ""),
		"any port":     chart.edited(t, "templates/networkpolicy.yaml", "    - ports: [{protocol: TCP, port: {{ $policy.database.port }}}]", "    - ports: []"),
	} {
		r := mustRender(t, open, minimal(t, ""), cluster{})
		if !allows(t, r.policies(t), r.server(t, "worker"), metadata.way, metadata.there, metadata.port) {
			t.Errorf("%s: the metadata service is still out of reach", name)
		}
	}
}
