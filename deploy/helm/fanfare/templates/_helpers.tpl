{{- define "fanfare.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "fanfare.secret" -}}
{{ .Values.secret.existing | default (include "fanfare.name" .) }}
{{- end }}

{{/* What Services and the like select by. Takes (dict "root" $ "part" "realtime"). */}}
{{- define "fanfare.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .part }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "fanfare.labels" -}}
{{ include "fanfare.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* The part that answers WebSockets and the HTTP API, and the one that has the pages. */}}
{{- define "fanfare.realtime" -}}
{{ if eq .Values.mode "single" }}node{{ else }}realtime{{ end }}
{{- end }}
{{- define "fanfare.control" -}}
{{ if eq .Values.mode "single" }}node{{ else if .Values.control.enabled }}control{{ else }}realtime{{ end }}
{{- end }}

{{/* Settings that a part takes from the Secret: a realtime node without a database gets no key that opens one. */}}
{{- define "fanfare.secrets" -}}
{{- $distant := and (eq .part "realtime") .root.Values.realtime.controlUrl -}}
{{- $names := list "FANFARE_REDIS_URL" -}}
{{- if $distant -}}
{{- $names = append $names "FANFARE_NODE_TOKEN" -}}
{{- else -}}
{{- $names = concat $names (list "FANFARE_SECRET_KEY" "FANFARE_DATABASE_URL") -}}
{{- end -}}
{{- if ne .part "realtime" -}}
{{- $names = concat $names (list "FANFARE_ADMIN_EMAIL" "FANFARE_ADMIN_PASSWORD" "FANFARE_SMTP_URL" "FANFARE_STRIPE_SECRET_KEY" "FANFARE_STRIPE_WEBHOOK_SECRET" "FANFARE_GITHUB_CLIENT_SECRET" "FANFARE_GOOGLE_CLIENT_SECRET") -}}
{{- end -}}
{{- join " " $names -}}
{{- end }}

{{/* A pod. Takes (dict "root" $ "part" "realtime" "resources" …). */}}
{{- define "fanfare.pod" -}}
{{- $v := .root.Values -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "fanfare.labels" . | nindent 4 }}
  annotations:
    {{- if not $v.secret.existing }}
    # New secrets start new pods.
    checksum/secret: {{ toJson $v.secret.values | sha256sum }}
    {{- end }}
    {{- with $v.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  # Sockets are closed over drainSeconds after SIGTERM; a preStop is not needed, since the node tells its clients where to go.
  terminationGracePeriodSeconds: {{ add $v.drainSeconds 10 }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  {{- with $v.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: fanfare
      image: "{{ $v.image.repository }}:{{ $v.image.tag | default .root.Chart.AppVersion }}"
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: [serve]
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      env:
        {{- if ne .part "node" }}
        - { name: FANFARE_ROLE, value: {{ .part }} }
        {{- end }}
        - { name: FANFARE_CLUSTER, value: {{ $v.cluster | quote }} }
        - { name: FANFARE_DRAIN_SECONDS, value: {{ $v.drainSeconds | quote }} }
        - { name: FANFARE_LOG_FORMAT, value: {{ $v.logFormat }} }
        - { name: FANFARE_METRICS_LISTEN, value: {{ $v.metrics.enabled | ternary "0.0.0.0:9601" "off" | quote }} }
        - { name: FANFARE_TRUST_PROXY, value: {{ $v.trustProxy | quote }} }
        {{- if ne .part "realtime" }}
        - { name: FANFARE_SIGNUP, value: {{ $v.signup }} }
        {{- else if $v.realtime.controlUrl }}
        - { name: FANFARE_CONTROL_URL, value: {{ $v.realtime.controlUrl | quote }} }
        {{- end }}
        {{- with $v.url }}
        - { name: FANFARE_URL, value: {{ . | quote }} }
        {{- end }}
        {{- range $name, $value := $v.env }}
        - { name: {{ $name }}, value: {{ $value | toString | quote }} }
        {{- end }}
        {{- range $name := splitList " " (include "fanfare.secrets" .) }}
        - name: {{ $name }}
          valueFrom: { secretKeyRef: { name: {{ include "fanfare.secret" $root }}, key: {{ $name }}, optional: true } }
        {{- end }}
      ports:
        - { name: http, containerPort: 6001 }
        {{- if $v.metrics.enabled }}
        - { name: metrics, containerPort: 9601 }
        {{- end }}
      # Time for migrations of a large database, before liveness counts.
      startupProbe:
        httpGet: { path: /healthz, port: http }
        periodSeconds: 2
        failureThreshold: 60
      # 503 while it drains or cannot reach its database.
      readinessProbe:
        httpGet: { path: /readyz, port: http }
        periodSeconds: 3
        timeoutSeconds: 3
        failureThreshold: 2
      livenessProbe:
        httpGet: { path: /healthz, port: http }
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 3
      resources: {{- toYaml .resources | nindent 8 }}
      volumeMounts:
        - { name: data, mountPath: /var/lib/fanfare }
        - { name: tmp, mountPath: /tmp }
  volumes:
    - name: tmp
      emptyDir: {}
    {{- if ne .part "node" }}
    # Nothing lasting is kept here: accounts and apps are in PostgreSQL.
    - name: data
      emptyDir: {}
    {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $v.affinity }}
  affinity: {{- toYaml $v.affinity | nindent 4 }}
  {{- else if eq .part "realtime" }}
  # Not all sockets on one machine.
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "fanfare.selector" . | nindent 10 }}
  {{- end }}
{{- end }}
