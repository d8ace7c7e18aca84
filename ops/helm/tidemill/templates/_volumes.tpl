{{/* The Secrets that a program's pods mount, by name: (list $ program). */}}
{{- define "tidemill.secrets" -}}
{{- $root := index . 0 }}
{{- $redis := $root.Values.redis }}
{{- $files := list $root.Values.kafka.config }}
{{- if ne (index . 1) "collector" }}
  {{- $files = concat $files (list $redis.password $redis.ca $redis.certificate $redis.key) }}
{{- end }}
{{- $names := $root.Values.secrets }}
{{- range compact $files }}
  {{- $names = append $names (splitList "/" . | first) }}
{{- end }}
{{- toYaml (uniq $names) }}
{{- end }}

{{/* The text of the file that a program gets from the values, if any: (list $ program). */}}
{{- define "tidemill.fileText" -}}
{{- $program := index (index . 0).Values (index . 1) }}
{{- get $program "features" }}{{ get $program "schema" }}
{{- end }}

{{/* The volumes of one program's pods: (list $ program). */}}
{{- define "tidemill.volumes" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $program := index $root.Values $name }}
{{- range include "tidemill.secrets" . | fromYamlArray }}
- name: secret-{{ . | replace "." "-" }}
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- if include "tidemill.fileText" . }}
- name: files
  configMap: { name: {{ include "tidemill.name" $root }}-{{ $name }} }
{{- end }}
{{- if and (eq $name "scorer") $program.model.volume }}
- name: model
  {{- toYaml $program.model.volume | nindent 2 }}
{{- end }}
{{- if and (eq $name "collector") $program.volume }}
- name: data
  {{- toYaml $program.volume | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where a program finds them: (list $ program). */}}
{{- define "tidemill.mounts" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $program := index $root.Values $name }}
{{- range include "tidemill.secrets" . | fromYamlArray }}
- { name: secret-{{ . | replace "." "-" }}, mountPath: /etc/tidemill/secrets/{{ . }}, readOnly: true }
{{- end }}
{{- if include "tidemill.fileText" . }}
- { name: files, mountPath: /etc/tidemill/files, readOnly: true }
{{- end }}
{{- if and (eq $name "scorer") $program.model.volume }}
# The whole folder: a file mounted by itself would not change with its ConfigMap.
- { name: model, mountPath: /var/lib/tidemill/model, readOnly: true }
{{- end }}
{{- if and (eq $name "collector") $program.volume }}
- { name: data, mountPath: /var/lib/tidemill/training_data }
{{- end }}
{{- end }}
