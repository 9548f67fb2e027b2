{{/* The settings as environment variables: config.limits.ipDay is PASSMEND_LIMIT_IP_DAY. What is empty is left out. */}}
{{- define "passmend.settings" -}}
{{- $settings := dict -}}
{{- range $key, $value := omit .Values.config "limits" "pluginPorts" "baseUrl" -}}
{{- $text := kindIs "slice" $value | ternary (join "," $value) (toString $value) -}}
{{- if $text }}{{ $_ := set $settings (printf "PASSMEND_%s" (snakecase $key | upper)) $text }}{{ end -}}
{{- end -}}
{{- range $key, $value := .Values.config.limits -}}
{{- $_ := set $settings (printf "PASSMEND_LIMIT_%s" (snakecase $key | upper)) $value -}}
{{- end -}}
{{- $ports := list -}}
{{- range $plugin, $numbers := .Values.config.pluginPorts -}}
{{- range $numbers }}{{ $ports = append $ports (printf "%s:%v" $plugin .) }}{{ end -}}
{{- end -}}
{{- with $ports }}{{ $_ := set $settings "PASSMEND_PLUGIN_PORTS" (join "," .) }}{{ end -}}
{{- $_ := set $settings "PASSMEND_BASE_URL" (required "config.baseUrl: is needed: https://HOST, where people reach the pages" .Values.config.baseUrl) -}}
{{- if .Values.canary.enabled -}}
{{- $_ := set $settings "PASSMEND_CANARY_ADDRESS" (required "canary.address: is needed with canary.enabled: an address whose mail is brought to the Service -canary" .Values.canary.address) -}}
{{- with .Values.canary.via }}{{ $_ := set $settings "PASSMEND_CANARY_VIA" . }}{{ end -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}
