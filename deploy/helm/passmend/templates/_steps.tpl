{{/* What runs before a server: plugins are installed, the schema is brought up to date, absent providers are added. */}}

{{/* One run of the command. Takes a dict: root, name, args, env and mounts (text). */}}
{{- define "passmend.step" -}}
- name: {{ .name | trunc 63 | trimSuffix "-" }}
  {{- include "passmend.imageOf" .root | nindent 2 }}
  args: {{ toJson .args }}
  env:
    {{- .env | trim | nindent 4 }}
  {{- include "passmend.containerSecurity" .root | nindent 2 }}
  resources: {{ toJson .root.Values.steps.resources }}
  volumeMounts:
    {{- .mounts | trim | nindent 4 }}
{{- end -}}

{{/* Two steps a bundle: trust the vendor's key for this one name, then install what it signed. */}}
{{- define "passmend.installSteps" -}}
{{- $root := . -}}
{{- $env := "- {name: PASSMEND_PLUGIN_DIR, value: /var/lib/passmend-plugins/store}" -}}
{{- range .Values.plugins.bundles }}
{{- $mounts := printf "- {name: plugins, mountPath: /var/lib/passmend-plugins}\n- {name: bundle-%s, mountPath: /bundles/%s, readOnly: true}" .name .name -}}
{{- $install := list "plugin" "install" (printf "/bundles/%s/%s" .name .file) "--yes" -}}
{{- range .ports }}
{{- $install = concat $install (list "--port" (toString .)) -}}
{{- end }}
{{ include "passmend.step" (dict "root" $root "name" (printf "trust-%s" .name) "env" $env "mounts" $mounts
  "args" (list "plugin" "trust" "add" .publicKey "--for" .name)) }}
{{ include "passmend.step" (dict "root" $root "name" (printf "install-%s" .name) "env" $env "mounts" $mounts "args" $install) }}
{{- end }}
{{- end -}}

{{- define "passmend.migrateStep" -}}
{{ include "passmend.step" (dict "root" .root "name" .name "args" .args
  "env" (include "passmend.storeEnv" .root) "mounts" (include "passmend.storeMounts" .root)) }}
{{- end -}}

{{- define "passmend.providerSteps" -}}
{{- $root := . -}}
{{- range $provider := .Values.providers }}
{{- $args := list "provider" "add" .name "--if-absent" "--plugin" .plugin -}}
{{- range $key, $value := .settings }}
{{- $args = concat $args (list "--set" (printf "%s=%s" $key (toString $value))) -}}
{{- end }}
{{- $mounts := list (include "passmend.storeMounts" $root) (include "passmend.pluginMounts" $root | trim) -}}
{{- range .secrets }}
{{- $args = concat $args (list "--secret" (printf "%s=@/etc/passmend/providers/%s/%s" .name $provider.name .name)) -}}
{{- end }}
{{- if .secrets }}
{{- $mounts = append $mounts (printf "- {name: provider-%s, mountPath: /etc/passmend/providers/%s, readOnly: true}" .name .name) -}}
{{- end }}
{{ include "passmend.step" (dict "root" $root "name" (printf "provider-%s" .name) "args" $args
  "env" (printf "%s\n%s" (include "passmend.storeEnv" $root) (include "passmend.pluginEnv" $root)) "mounts" (join "\n" $mounts)) }}
{{- end }}
{{- end -}}

{{- define "passmend.providerVolumes" -}}
{{- range .Values.providers }}
{{- if .secrets }}
- name: provider-{{ .name }}
  projected:
    defaultMode: 0400
    sources:
      {{- range .secrets }}
      - secret: {name: {{ .secretName }}, items: [{key: {{ .key | quote }}, path: {{ .name }}}]}
      {{- end }}
{{- end }}
{{- end }}
{{- end -}}
