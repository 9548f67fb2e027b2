{{/*
A Deployment of `passmend serve`. Takes a component, a dict: root, name, role (its block of the values), roles (what
PASSMEND_ROLES gets), serves (whether it has the public port), plugins (whether it runs them: every server does), hashes (whether it
hashes passwords), scaled (whether something else sets the replicas), canary (whether it has the canary and its inbox).
*/}}
{{- define "passmend.server" -}}
{{- $root := .root -}}
{{- $sqlite := eq $root.Values.database.type "sqlite" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "passmend.fullname" $root }}-{{ .name }}
  labels:
    {{- include "passmend.labels" (list $root .name) | nindent 4 }}
spec:
  {{- if not .scaled }}
  replicas: {{ .role.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  {{- if $sqlite }}
  # The file has one server, and its volume one node.
  strategy: {type: Recreate}
  {{- else }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  {{- end }}
  selector:
    matchLabels:
      {{- include "passmend.selector" (list $root .name) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "passmend.podLabels" (list $root .name) | nindent 8 }}
      annotations:
        checksum/config: {{ include "passmend.settings" $root | sha256sum }}
        {{- with $root.Values.secretChecksum }}
        checksum/secret: {{ . | quote }}
        {{- end }}
        {{- with $root.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "passmend.serviceAccount" $root }}
      {{- include "passmend.podSecurity" $root | nindent 6 }}
      {{- include "passmend.pullSecrets" $root | nindent 6 }}
      {{- include "passmend.placement" $root | nindent 6 }}
      # preStop 5 s, then at most 28 s of its own.
      terminationGracePeriodSeconds: 60
      {{- if and $root.Values.spread.enabled (not $sqlite) }}
      {{- include "passmend.spread" . | nindent 6 }}
      {{- end }}
      {{- $before := "" -}}
      {{- if .plugins }}
      {{- $before = include "passmend.installSteps" $root | trim -}}
      {{- if $sqlite }}
      {{- $before = printf "%s\n%s" $before (include "passmend.providerSteps" $root) | trim -}}
      {{- end }}
      {{- end }}
      {{- with $before }}
      initContainers:
        {{- . | nindent 8 }}
      {{- end }}
      containers:
        {{- include "passmend.serverContainer" . | nindent 8 }}
      volumes:
        {{- include "passmend.storeVolumes" $root | nindent 8 }}
        {{- if .plugins }}
        {{- include "passmend.pluginVolumes" $root | nindent 8 }}
        {{- end }}
        {{- if $sqlite }}
        {{- include "passmend.providerVolumes" $root | nindent 8 }}
        {{- end }}
{{- end -}}

{{- define "passmend.serverContainer" -}}
{{- $root := .root -}}
- name: passmend
  {{- include "passmend.imageOf" $root | nindent 2 }}
  args: [serve]
  envFrom:
    - configMapRef: {name: {{ include "passmend.fullname" $root }}}
  env:
    - {name: PASSMEND_HTTP_ADDR, value: ":8080"}
    - {name: PASSMEND_ADMIN_ADDR, value: ":9090"}
    - {name: PASSMEND_ROLES, value: {{ .roles | quote }}}
    {{- include "passmend.storeEnv" $root | nindent 4 }}
    {{- if .plugins }}
    {{- include "passmend.pluginEnv" $root | nindent 4 }}
    {{- end }}
    {{- if .canary }}
    - {name: PASSMEND_CANARY, value: "true"}
    - {name: PASSMEND_CANARY_INBOX, value: ":2526"}
    {{- end }}
    - {name: GOMAXPROCS, value: {{ .role.gomaxprocs | quote }}}
    - {name: GOMEMLIMIT, value: {{ include "passmend.memoryLimit" . }}}
    {{- with $root.Values.tracing }}
    {{- if .endpoint }}
    - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
    - {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: {{ .protocol | quote }}}
    - {name: OTEL_TRACES_SAMPLER, value: parentbased_traceidratio}
    - {name: OTEL_TRACES_SAMPLER_ARG, value: {{ .sampleRatio | quote }}}
    - {name: OTEL_RESOURCE_ATTRIBUTES, value: {{ printf "k8s.namespace.name=%s,k8s.pod.name=$(POD_NAME)" $root.Release.Namespace | quote }}}
    {{- end }}
    {{- end }}
  ports:
    {{- if .serves }}
    - {name: http, containerPort: 8080}
    {{- end }}
    {{- if .canary }}
    - {name: canary, containerPort: 2526}
    {{- end }}
    - {name: metrics, containerPort: 9090}
  # /livez never asks the database: while that is away a pod turns unready and is not restarted.
  startupProbe:
    httpGet: {path: /livez, port: metrics}
    periodSeconds: 2
    failureThreshold: 30
  livenessProbe:
    httpGet: {path: /livez, port: metrics}
    periodSeconds: 10
    timeoutSeconds: 2
    failureThreshold: 3
  readinessProbe:
    httpGet: {path: /readyz, port: metrics}
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: 2
  lifecycle:
    preStop: {sleep: {seconds: 5}}
  {{- include "passmend.containerSecurity" $root | nindent 2 }}
  resources: {{ toJson .role.resources }}
  volumeMounts:
    {{- include "passmend.storeMounts" $root | nindent 4 }}
    {{- if .plugins }}
    {{- include "passmend.pluginMounts" $root | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "passmend.spread" -}}
topologySpreadConstraints:
  {{- range $key, $otherwise := dict "topology.kubernetes.io/zone" "ScheduleAnyway" "kubernetes.io/hostname" "DoNotSchedule" }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: {{ $otherwise }}
    # Of this version's pods: those that a rollout takes away do not count.
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "passmend.selector" (list $.root $.name) | nindent 8 }}
  {{- end }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "passmend.selector" (list .root .name) | nindent 14 }}
{{- end -}}

{{/*
MiB that a component needs at least: 96 for itself, 19 for each password hash under way (as many as GOMAXPROCS), and its
plugins, which share the pod's limit.
*/}}
{{- define "passmend.memoryNeed" -}}
{{- $need := 96 -}}
{{- if .hashes }}{{ $need = add $need (mul 19 (int .role.gomaxprocs)) }}{{ end -}}
{{- if .plugins }}{{ $need = add $need (include "passmend.pluginMemory" .root) }}{{ end -}}
{{- $need -}}
{{- end -}}

{{/*
GOMEMLIMIT: nine tenths of what the plugins leave of the limit. The downward API can give the limit and divide it by
powers of 1000 and 1024, but knows neither nine tenths nor plugins.
*/}}
{{- define "passmend.memoryLimit" -}}
{{- $limit := include "passmend.mebibytes" .role.resources.limits.memory | int -}}
{{- $need := include "passmend.memoryNeed" . | int -}}
{{- if lt $limit $need -}}
{{- fail (printf "%s.resources.limits.memory: must be at least %dMi (96 for itself, 19 for each of gomaxprocs where passwords are hashed, and the plugins), it is %s" .name $need .role.resources.limits.memory) -}}
{{- end -}}
{{- $plugins := ternary (include "passmend.pluginMemory" .root | int) 0 .plugins -}}
{{- div (mul 9 (sub $limit $plugins)) 10 -}}MiB
{{- end -}}
