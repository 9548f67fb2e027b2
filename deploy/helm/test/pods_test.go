package helm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// pod is what an object starts.
type pod struct {
	owner string
	corev1.PodTemplateSpec
}

// pods gives what the objects of a release start.
func (r release) pods() ([]pod, error) {
	var pods []pod
	for _, o := range r.objects {
		var template corev1.PodTemplateSpec
		var err error
		switch o.kind {
		case "Deployment":
			var d appsv1.Deployment
			err = o.into(&d)
			template = d.Spec.Template
		case "Job":
			var j batchv1.Job
			err = o.into(&j)
			template = j.Spec.Template
		case "Pod":
			var p corev1.Pod
			err = o.into(&p)
			template = corev1.PodTemplateSpec{ObjectMeta: p.ObjectMeta, Spec: p.Spec}
		case "StatefulSet", "DaemonSet", "CronJob", "ReplicaSet", "ReplicationController":
			err = fmt.Errorf("%s: pods of this kind are not checked", o)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o, err)
		}
		pods = append(pods, pod{o.String(), template})
	}
	return pods, nil
}

func (p pod) containers() []corev1.Container {
	return slices.Concat(p.Spec.InitContainers, p.Spec.Containers)
}

const user = 65532

// violations are what keeps a pod out of a restricted namespace, by Kubernetes' own
// judgement, and what the project asks for besides.
func violations(judge policy.Evaluator, p pod) []string {
	var found []string
	for _, version := range []api.Version{api.MajorMinorVersion(1, 30), api.LatestVersion()} {
		level := api.LevelVersion{Level: api.LevelRestricted, Version: version}
		result := policy.AggregateCheckResults(judge.EvaluatePod(level, &p.ObjectMeta, &p.Spec))
		if !result.Allowed {
			found = append(found, fmt.Sprintf("restricted %s: %s", version, result.ForbiddenDetail()))
		}
	}
	if isNot(p.Spec.AutomountServiceAccountToken, false) {
		found = append(found, "automountServiceAccountToken is not false")
	}
	if isNot(p.Spec.EnableServiceLinks, false) {
		found = append(found, "enableServiceLinks is not false")
	}
	if p.Spec.SecurityContext == nil || isNot(p.Spec.SecurityContext.FSGroup, user) {
		found = append(found, "fsGroup is not 65532")
	}
	for _, c := range p.containers() {
		switch s := c.SecurityContext; {
		case s == nil:
			found = append(found, c.Name+": no security context")
		case isNot(s.ReadOnlyRootFilesystem, true):
			found = append(found, c.Name+": readOnlyRootFilesystem is not true")
		case isNot(s.RunAsUser, user), isNot(s.RunAsGroup, user):
			found = append(found, c.Name+": does not run as 65532")
		}
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
			found = append(found, c.Name+": without requests or a limit of memory")
		}
	}
	for _, v := range p.Spec.Volumes {
		found = append(found, loose(v)...)
	}
	return found
}

// loose says what is wrong with a volume: a Secret that others can read, or an
// emptyDir that may fill the node.
func loose(v corev1.Volume) []string {
	switch {
	case v.Secret != nil && isNot(v.Secret.DefaultMode, 0o400), v.Projected != nil && isNot(v.Projected.DefaultMode, 0o400):
		return []string{v.Name + ": its files are not 0400"}
	case v.EmptyDir != nil && (v.EmptyDir.SizeLimit == nil || v.EmptyDir.SizeLimit.IsZero()):
		return []string{v.Name + ": has no size limit"}
	}
	return nil
}

func isNot[T comparable](got *T, want T) bool { return got == nil || *got != want }

func newJudge(t *testing.T) policy.Evaluator {
	t.Helper()
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return judge
}

func TestEveryPodIsRestricted(t *testing.T) {
	t.Parallel()
	judge := newJudge(t)
	eachSet(t, readChart(t), func(t *testing.T, _ set, r release) {
		pods, err := r.pods()
		if err != nil {
			t.Fatal(err)
		}
		if len(pods) == 0 {
			t.Error("there are no pods")
		}
		for _, p := range pods {
			for _, violation := range violations(judge, p) {
				t.Errorf("%s: %s", p.owner, violation)
			}
		}
	})
}

// The control: charts with one line gone, or one line more.
func TestALoosenedPodIsFound(t *testing.T) {
	t.Parallel()
	chart, judge := readChart(t), newJudge(t)
	for _, fault := range []struct{ old, replacement, says string }{
		{"runAsNonRoot: true", "", "runAsNonRoot"},
		{"runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot"},
		{"readOnlyRootFilesystem: true", "", "readOnlyRootFilesystem"},
		{"allowPrivilegeEscalation: false", "", "allowPrivilegeEscalation"},
		{"allowPrivilegeEscalation: false", "privileged: true", "privileged"},
		{"capabilities: {drop: [ALL]}", "", "capabilities"},
		{"capabilities: {drop: [ALL]}", "capabilities: {drop: [ALL], add: [NET_ADMIN]}", "capabilities"},
		{"seccompProfile: {type: RuntimeDefault}", "", "seccomp"},
		{"automountServiceAccountToken: false", "", "automountServiceAccountToken"},
		{"automountServiceAccountToken: false", "automountServiceAccountToken: false\nhostNetwork: true", "host namespaces"},
		{"enableServiceLinks: false", "", "enableServiceLinks"},
		{"fsGroup: 65532", "fsGroup: 0", "fsGroup"},
		{"runAsUser: 65532", "runAsUser: 0", "runAsUser"},
		{"runAsUser: 65532", "runAsUser: 1000", "65532"},
		{"defaultMode: 0400", "defaultMode: 0440", "0400"},
		{"emptyDir: {sizeLimit: {{ .Values.writable.tmpSize }}}", "emptyDir: {}", "size limit"},
		{"emptyDir: {sizeLimit: {{ .Values.writable.tmpSize }}}", "hostPath: {path: /tmp}", "hostPath"},
	} {
		loosened := chart.edited(t, "templates/_pod.tpl", fault.old, fault.replacement)
		pods, err := mustRender(t, loosened, minimal(t, ""), cluster{}).pods()
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, p := range pods {
			found = append(found, violations(judge, p)...)
		}
		if !strings.Contains(strings.Join(found, "\n"), fault.says) {
			t.Errorf("%q in place of %q is not found by %q: %q", fault.replacement, fault.old, fault.says, found)
		}
	}
}
