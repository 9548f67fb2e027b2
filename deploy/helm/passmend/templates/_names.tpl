{{/* Names, labels and small conversions. Every helper takes the root context unless it says otherwise. */}}

{{/* 40 characters leave room for the longest suffix. */}}
{{- define "passmend.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What a selector may hold: nothing that changes with a version. */}}
{{- define "passmend.releaseSelector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Takes a list of the root context and the component. */}}
{{- define "passmend.selector" -}}
{{ include "passmend.releaseSelector" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Of pods: not the chart's version, which alone must not restart them. Takes a list of the root context and the component. */}}
{{- define "passmend.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "passmend.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
{{- with $root.Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Takes a list of the root context and the component. */}}
{{- define "passmend.labels" -}}
{{- $root := index . 0 -}}
{{ include "passmend.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "passmend.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "passmend.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "passmend.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The component that serves the API: a pod of its own with PostgreSQL. */}}
{{- define "passmend.front" -}}
{{- ternary "single" "api" (eq .Values.database.type "sqlite") -}}
{{- end -}}

{{/* The component that has the canary: a pod of its own with PostgreSQL. */}}
{{- define "passmend.canaryComponent" -}}
{{- ternary "single" "canary" (eq .Values.database.type "sqlite") -}}
{{- end -}}

{{/* Takes a quantity in Mi or Gi, gives the number of MiB. */}}
{{- define "passmend.mebibytes" -}}
{{- if hasSuffix "Gi" . -}}
{{- mul 1024 (trimSuffix "Gi" . | int) -}}
{{- else -}}
{{- trimSuffix "Mi" . | int -}}
{{- end -}}
{{- end -}}

{{/* MiB that the plugins take of a pod: their processes, ours and the installed, and the memory that holds their sockets. */}}
{{- define "passmend.pluginMemory" -}}
{{- $processes := add 3 (len .Values.plugins.bundles) -}}
{{- add (mul $processes (include "passmend.mebibytes" .Values.plugins.memoryEach)) (include "passmend.mebibytes" .Values.writable.socketsSize) -}}
{{- end -}}

{{/* Whether objects of monitoring.coreos.com/v1 are rendered: "true" or nothing. */}}
{{- define "passmend.monitored" -}}
{{- $mode := .Values.monitoring.objects -}}
{{- if or (eq $mode "always") (and (eq $mode "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}
true
{{- end -}}
{{- end -}}
