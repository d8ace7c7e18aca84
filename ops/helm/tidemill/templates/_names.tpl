{{/* What the names of all objects of a release begin with: at most 40 letters, so that labels made from them fit. */}}
{{- define "tidemill.name" -}}
{{- $name := ternary .Release.Name (printf "%s-tidemill" .Release.Name) (contains "tidemill" .Release.Name) -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* The enabled programs. */}}
{{- define "tidemill.programs" -}}
{{- range list "featurizer" "scorer" "collector" }}
{{- if (index $.Values .).enabled }}
- {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The labels that select one program's pods: (list $ program). */}}
{{- define "tidemill.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: tidemill
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with rest . }}
app.kubernetes.io/component: {{ first . }}
{{- end }}
{{- end }}

{{/* All labels of an object: (list $ program), or (list $) where all programs share it. */}}
{{- define "tidemill.labels" -}}
{{- $root := index . 0 -}}
{{ include "tidemill.selector" . }}
app.kubernetes.io/version: {{ $root.Values.image.tag | default $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The port of a program's admin pages. */}}
{{- define "tidemill.port" -}}
{{- get (dict "featurizer" 9101 "scorer" 9102 "collector" 9103) . -}}
{{- end }}
