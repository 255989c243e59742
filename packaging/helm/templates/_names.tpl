{{- define "siemtap.name" -}}
{{- if contains "siemtap" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-siemtap" (.Release.Name | trunc 44 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "siemtap.selector" -}}
app.kubernetes.io/name: siemtap
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "siemtap.labels" -}}
{{ include "siemtap.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "siemtap.config" -}}
{{- $own := dict "path.data" "/var/lib/siemtap" "http.host" "0.0.0.0" "http.remote" true "http.port" .Values.http.port -}}
{{ toYaml (merge $own .Values.config) }}
{{- end }}
