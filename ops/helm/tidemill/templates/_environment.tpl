{{/*
The environment of one program: (list $ program). Flags are given as variables, so that `kubectl exec POD -- scorer doctor`
sees those of the process.
*/}}
{{- define "tidemill.environment" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $program := index $root.Values $name }}
{{- $kafka := $root.Values.kafka }}
{{- $redis := $root.Values.redis }}
{{- $flags := dict
  "KAFKA_BROKERS" (required "kafka.brokers is required: host:port, several separated by commas" $kafka.brokers)
  "ADMIN_ADDR" (printf "0.0.0.0:%s" (include "tidemill.port" $name))
  "TIDEMILL_WORKERS" $program.workers
  "KAFKA_CONFIG" (include "tidemill.secretFile" $kafka.config)
}}
{{- if ne $name "collector" }}
  {{- $_ := set $flags "REDIS_URL" $redis.url }}
  {{- $_ := set $flags "TIDEMILL_REDIS_PASSWORD_FILE" (include "tidemill.secretFile" $redis.password) }}
  {{- $_ := set $flags "TIDEMILL_REDIS_CA" (include "tidemill.secretFile" $redis.ca) }}
  {{- $_ := set $flags "TIDEMILL_REDIS_CERT" (include "tidemill.secretFile" $redis.certificate) }}
  {{- $_ := set $flags "TIDEMILL_REDIS_KEY" (include "tidemill.secretFile" $redis.key) }}
{{- end }}
{{- if eq $name "featurizer" }}
  {{- $_ := required "redis.url is required by the featurizer: redis://[user@]host[:port]" $redis.url }}
  {{- if $program.features }}
    {{- $_ := set $flags "TIDEMILL_FEATURES" "/etc/tidemill/files/features.toml" }}
  {{- end }}
{{- else if eq $name "scorer" }}
  {{- $folder := ternary "/var/lib/tidemill/model" "/var/lib/tidemill/models" (not (empty $program.model.volume)) }}
  {{- $_ := set $flags "MODEL_PATH" (printf "%s/%s" $folder $program.model.file) }}
{{- else }}
  {{- if eq (empty $program.out) (empty $program.volume) }}
    {{- fail "collector: give one of collector.out (s3://bucket/prefix) and collector.volume" }}
  {{- end }}
  {{- $_ := set $flags "TIDEMILL_OUT" ($program.out | default "/var/lib/tidemill/training_data") }}
  {{- if $program.schema }}
    {{- $_ := set $flags "TIDEMILL_SCHEMA" "/etc/tidemill/files/schema.json" }}
  {{- end }}
{{- end }}
{{- range $flag, $value := $program.settings }}
  {{- $variable := ternary "KAFKA_GROUP" (printf "TIDEMILL_%s" ($flag | upper | replace "-" "_")) (eq $flag "group") }}
  {{- $_ := set $flags $variable $value }}
{{- end }}
{{- range $variable, $value := $flags }}
{{- /* toJson writes a million as 1000000, not as 1e+06. */}}
{{- with kindIs "float64" $value | ternary (toJson $value) (toString $value) }}
- name: {{ $variable }}
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- if eq $name "scorer" }}
# The pod's name stays when it starts again: it then takes its predecessor's partitions over at once.
- name: TIDEMILL_INSTANCE
  valueFrom:
    fieldRef: { fieldPath: metadata.name }
{{- end }}
{{- with $program.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The path of a secret/file; nothing for nothing. */}}
{{- define "tidemill.secretFile" -}}
{{- with . }}/etc/tidemill/secrets/{{ . }}{{ end -}}
{{- end }}
