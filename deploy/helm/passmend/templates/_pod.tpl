{{/*
What every pod of the chart is made of. A component is a dict: root, name, role (its block of the values), roles (of
PASSMEND_ROLES), plugins (whether it runs them), hashes (whether it hashes passwords), http (whether it serves).
*/}}

{{/* The restricted profile of the pod security standards, which no value loosens. */}}
{{- define "passmend.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  # It opens Secret volumes, which are root's, to the group that the container has.
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "passmend.containerSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "passmend.imageOf" -}}
image: {{ include "passmend.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{- define "passmend.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "passmend.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Where the database and the keys are. */}}
{{- define "passmend.storeEnv" -}}
- {name: PASSMEND_KEYS_FILE, value: {{ printf "/etc/passmend/keys/%s" .Values.keys.key }}}
{{- if eq .Values.database.type "sqlite" }}
# A folder of its own: the volume's root is open to the group.
- {name: PASSMEND_DATA_DIR, value: /var/lib/passmend/data}
{{- else }}
- {name: PASSMEND_CONFIG, value: {{ printf "/etc/passmend/database/%s" .Values.database.key }}}
- {name: PASSMEND_DATA_DIR, value: /tmp/passmend}
{{- end }}
{{- end -}}

{{- define "passmend.storeMounts" -}}
- {name: keys, mountPath: /etc/passmend/keys, readOnly: true}
{{- if eq .Values.database.type "sqlite" }}
- {name: data, mountPath: /var/lib/passmend}
{{- else }}
- {name: database, mountPath: /etc/passmend/database, readOnly: true}
{{- end }}
- {name: tmp, mountPath: /tmp}
{{- end -}}

{{- define "passmend.storeVolumes" -}}
- name: keys
  secret:
    secretName: {{ required "keys.existingSecret: is needed: the Secret with the keys file, made by 'passmend keys init' and 'kubectl create secret generic'" .Values.keys.existingSecret }}
    defaultMode: 0400
{{- if eq .Values.database.type "sqlite" }}
- name: data
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-data" (include "passmend.fullname" .)) .Values.database.sqlite.existingClaim }}
{{- else }}
- name: database
  secret:
    secretName: {{ required "database.existingSecret: is needed with database.type=postgres: the Secret whose passmend.yaml holds database_url" .Values.database.existingSecret }}
    defaultMode: 0400
{{- end }}
- name: tmp
  emptyDir: {sizeLimit: {{ .Values.writable.tmpSize }}}
{{- end -}}

{{/* Plugins have their sockets in memory. TMPDIR is where the host makes its folder. */}}
{{- define "passmend.pluginEnv" -}}
- {name: TMPDIR, value: /run/passmend}
{{- end -}}

{{/*
Bundles are installed into a volume by init containers. The executables, their pins and the trusted keys are then laid
beside ours, each by its path: one plugin directory, of which nothing can be written.
*/}}
{{- define "passmend.pluginMounts" -}}
- {name: sockets, mountPath: /run/passmend}
{{- range .Values.plugins.bundles }}
- {name: plugins, mountPath: {{ printf "/usr/local/bin/passmend-%s" .name }}, subPath: {{ printf "store/passmend-%s" .name }}, readOnly: true}
{{- end }}
{{- if .Values.plugins.bundles }}
- {name: plugins, mountPath: /usr/local/bin/installed, subPath: store/installed, readOnly: true}
- {name: plugins, mountPath: /usr/local/bin/trust.json, subPath: store/trust.json, readOnly: true}
{{- end }}
{{- end -}}

{{- define "passmend.pluginVolumes" -}}
- name: sockets
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.writable.socketsSize }}}
{{- if .Values.plugins.bundles }}
- name: plugins
  emptyDir: {sizeLimit: {{ .Values.plugins.storeSize }}}
{{- end }}
{{- range .Values.plugins.bundles }}
- name: bundle-{{ .name }}
  {{- if .image }}
  image: {reference: {{ .image.reference }}, pullPolicy: {{ default "IfNotPresent" .image.pullPolicy }}}
  {{- else }}
  persistentVolumeClaim: {claimName: {{ .claimName }}, readOnly: true}
  {{- end }}
{{- end }}
{{- end -}}
