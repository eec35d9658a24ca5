{{- define "nexus.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}-allocator
{{- end }}

{{- define "nexus.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{ .Values.image.repository }}{{ if hasPrefix "sha256:" $tag }}@{{ else }}:{{ end }}{{ $tag }}
{{- end }}

{{- define "nexus.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "nexus.labels" -}}
{{ include "nexus.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Settings as the service reads them; secrets come from the Secret only. */}}
{{- define "nexus.env" -}}
{{- with .Values.settings }}
- {name: NEXUS_PUBLIC_URL, value: {{ required "settings.publicUrl: what a browser sees of the portal" .publicUrl | quote }}}
- {name: NEXUS_HUB_PUBLIC_URL, value: {{ .hubPublicUrl | quote }}}
- {name: NEXUS_HUB_API_URL, value: {{ .hubApiUrl | quote }}}
- {name: NEXUS_SERVICE_PREFIX, value: {{ .servicePrefix | quote }}}
- {name: NEXUS_METERING_INTERVAL_S, value: {{ .meteringIntervalS | quote }}}
- {name: NEXUS_POSTING_INTERVAL_S, value: {{ .postingIntervalS | quote }}}
- {name: NEXUS_SAVE_GRACE_MINUTES, value: {{ .saveGraceMinutes | quote }}}
- {name: NEXUS_HOLD_START_TIMEOUT_S, value: {{ .holdStartTimeoutS | quote }}}
- {name: NEXUS_ISSUER_ADMINS, value: {{ join "," .issuerAdmins | quote }}}
- {name: NEXUS_CONFINEMENT, value: {{ .confinement | quote }}}
- {name: NEXUS_WORKER_THREADS, value: {{ .workerThreads | quote }}}
- {name: NEXUS_WEBHOOK_REACH, value: {{ .webhookReach | quote }}}
{{- if .mail.host }}
- {name: NEXUS_MAIL_HOST, value: {{ .mail.host | quote }}}
- {name: NEXUS_MAIL_PORT, value: {{ .mail.port | quote }}}
- {name: NEXUS_MAIL_SECURITY, value: {{ .mail.security | quote }}}
- {name: NEXUS_MAIL_FROM, value: {{ required "settings.mail.from: the sender's address" .mail.from | quote }}}
{{- if .mail.user }}
- {name: NEXUS_MAIL_USER, value: {{ .mail.user | quote }}}
- name: NEXUS_MAIL_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $.Values.existingSecret }}, key: mail-password}}
{{- end }}
{{- end }}
{{- if .store.bucket }}
- {name: NEXUS_STORE_BUCKET, value: {{ .store.bucket | quote }}}
- {name: NEXUS_STORE_ROLE, value: {{ required "settings.store.role: who may write in the bucket" .store.role | quote }}}
{{- with .store.mission }}
- {name: NEXUS_STORE_MISSION, value: {{ . | quote }}}
{{- end }}
{{- with .store.region }}
- {name: NEXUS_STORE_REGION, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- end }}
- {name: NEXUS_ROUNDS, value: elsewhere}
{{- if .Values.tiersFile }}
- {name: NEXUS_TIERS_FILE, value: /etc/nexus/tiers.yaml}
{{- end }}
- name: NEXUS_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: database-url}}
- name: NEXUS_HUB_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: hub-token}}
- name: NEXUS_INTERNAL_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: internal-token}}
- name: NEXUS_WEBHOOK_KEY
  valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: webhook-key, optional: true}}
{{- if .Values.monitoring.serviceMonitor.enabled }}
- name: NEXUS_METRICS_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: metrics-token}}
{{- end }}
{{- end }}

{{/* Pods have `enableServiceLinks: false`: Kubernetes would tell them of the Service nexus-allocator by variables that
begin with NEXUS_, and the service refuses settings that it does not know. */}}
{{- define "nexus.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "nexus.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* One container of the service's image: what it runs is given by the caller, (dict "root" $ "name" … "args" …). */}}
{{- define "nexus.container" -}}
name: {{ .name }}
image: {{ include "nexus.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{ toJson .args }}
env:
  {{- include "nexus.env" .root | nindent 2 }}
  {{- if eq .name "backup" }}
  - name: NEXUS_HUB_DATABASE_URL
    valueFrom: {secretKeyRef: {name: {{ .root.Values.existingSecret }}, key: hub-database-url}}
  {{- end }}
securityContext:
  {{- include "nexus.containerSecurity" .root | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if .root.Values.tiersFile }}
  - {name: policy, mountPath: /etc/nexus, readOnly: true}
  {{- end }}
{{- end }}

{{- define "nexus.volumes" -}}
- {name: tmp, emptyDir: {}}
{{- if .Values.tiersFile }}
- {name: policy, configMap: {name: {{ include "nexus.name" . }}-policy}}
{{- end }}
{{- end }}

{{/* What the command line needs to look after the volume: the database, the volume, the key of purges' logs. */}}
{{- define "nexus.storageEnv" -}}
- name: NEXUS_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: database-url}}
{{- if .Values.tiersFile }}
- {name: NEXUS_TIERS_FILE, value: /etc/nexus/tiers.yaml}
{{- end }}
{{- with .Values.storage }}
- {name: NEXUS_STORAGE_ROOT, value: /volume}
- {name: NEXUS_STORAGE_DRIVER, value: {{ .driver }}}
- {name: NEXUS_STORAGE_VOLUME, value: {{ .volume | quote }}}
- {name: NEXUS_STORAGE_RECORDS, value: /storage-records}
- {name: NEXUS_STORAGE_KEY_FILE, value: /etc/nexus-storage/storage-key}
{{- if .mostPlaces }}
- {name: NEXUS_STORAGE_MOST_PLACES, value: {{ .mostPlaces | quote }}}
{{- end }}
{{- if .fsxVolume }}
- {name: NEXUS_STORAGE_FSX_VOLUME, value: {{ .fsxVolume | quote }}}
{{- end }}
{{- with .backup }}
{{- if .vault }}
- {name: NEXUS_STORAGE_BACKUP_VAULT, value: {{ .vault | quote }}}
- {name: NEXUS_STORAGE_BACKUP_ROLE, value: {{ required "storage.backup.role: the role with which AWS Backup works" .role | quote }}}
- {name: NEXUS_STORAGE_FILE_SYSTEM, value: {{ required "storage.backup.fileSystem: the ARN of the EFS" .fileSystem | quote }}}
{{- end }}
{{- end }}
{{- if .coldBucket }}
- {name: NEXUS_STORAGE_COLD_BUCKET, value: {{ .coldBucket | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* A pod over the volume of homes, team folders and scratch: (dict "root" $ "name" … "args" …). Files there are
everybody's, so it is root, with the rights over files and no others; two drivers ask the kernel for quotas. */}}
{{- define "nexus.storagePod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ .root.Values.storage.serviceAccountName | default (include "nexus.name" .root) }}
imagePullSecrets: {{- toYaml .root.Values.imagePullSecrets | nindent 2 }}
nodeSelector: {{- toYaml .root.Values.storage.nodeSelector | nindent 2 }}
securityContext:
  runAsUser: 0
  runAsGroup: 0
  seccompProfile: {type: RuntimeDefault}
{{- if eq .name "storage" }}
# Jobs come by the clock; this one starts with the migration.
initContainers:
  - name: wait-for-schema
    image: {{ include "nexus.image" .root }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: [nexus-allocator, migrate, --wait]
    env:
      - name: NEXUS_DATABASE_URL
        valueFrom: {secretKeyRef: {name: {{ .root.Values.existingSecret }}, key: database-url}}
    securityContext:
      {{- include "nexus.containerSecurity" .root | nindent 6 }}
    resources: {{- toYaml .root.Values.storage.resources | nindent 6 }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
{{- end }}
containers:
  - name: {{ .name }}
    image: {{ include "nexus.image" .root }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: {{ toJson .args }}
    env:
      {{- include "nexus.storageEnv" .root | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
        add: [CHOWN, DAC_OVERRIDE, FOWNER, FSETID{{ if has .root.Values.storage.driver (list "btrfs" "xfs") }}, SYS_ADMIN{{ end }}]
    resources: {{- toYaml .root.Values.storage.resources | nindent 6 }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      - {name: volume, mountPath: /volume}
      - {name: storage-records, mountPath: /storage-records}
      - {name: storage-key, mountPath: /etc/nexus-storage, readOnly: true}
      {{- if .root.Values.tiersFile }}
      - {name: policy, mountPath: /etc/nexus, readOnly: true}
      {{- end }}
volumes:
  {{- include "nexus.volumes" .root | nindent 2 }}
  - {name: volume, persistentVolumeClaim: {claimName: {{ required "storage.existingClaim: the claim with homes, teams and scratch" .root.Values.storage.existingClaim }}}}
  - {name: storage-records, persistentVolumeClaim: {claimName: {{ required "storage.recordsClaim: the claim that keeps plans of purges and their logs" .root.Values.storage.recordsClaim }}}}
  - {name: storage-key, secret: {secretName: {{ .root.Values.existingSecret }}, defaultMode: 256, items: [{key: storage-key, path: storage-key}]}}
{{- end }}

{{/* Pods that answer or meter wait until the database has their schema. */}}
{{- define "nexus.waitForSchema" -}}
- {{- include "nexus.container" (dict "root" . "name" "wait-for-schema" "args" (list "nexus-allocator" "migrate" "--wait")) | nindent 2 }}
{{- end }}

{{- define "nexus.migrationPod" -}}
metadata:
  labels:
    {{- include "nexus.selector" . | nindent 4 }}
    app.kubernetes.io/component: migrate
spec:
  restartPolicy: OnFailure
  automountServiceAccountToken: false
  enableServiceLinks: false
  serviceAccountName: {{ include "nexus.name" . }}
  imagePullSecrets: {{- toYaml .Values.imagePullSecrets | nindent 4 }}
  securityContext: {{- include "nexus.podSecurity" . | nindent 4 }}
  containers:
    - {{- include "nexus.container" (dict "root" . "name" "migrate" "args" (list "nexus-allocator" "migrate")) | nindent 6 }}
      resources: {requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 512Mi}}
  volumes:
    {{- include "nexus.volumes" . | nindent 4 }}
{{- end }}

{{/* Named by all that it runs: Kubernetes lets no job be changed, so the same makes no second one, and anything else another. */}}
{{- define "nexus.migration" -}}
{{ include "nexus.name" . }}-migrate-{{ include "nexus.migrationPod" . | sha256sum | trunc 8 }}
{{- end }}
