// What the API says about jobs, as far as the pages show it: docs/api/jobs.md.
export type JobState = 'scheduled' | 'queued' | 'running' | 'completed' | 'cancelled' | 'failed'

export interface PastAttempt {
  attempt: number
  startedAt: string
  endedAt: string
  runner: string
  reason: string
}

export interface FileOfJob {
  path: string
  size: number
}

export interface Result {
  status: string
  stdout: string
  stderr: string
  exitCode?: number
  signal?: string
  error?: { name: string; value: string; traceback: string }
  notices?: { message?: string; detail?: string }[]
  durationMs: number
  cpuMs: number
  peakMemoryBytes: number
  queuedMs: number
  files?: FileOfJob[]
}

export interface Job {
  id: string
  state: JobState
  waitsFor?: string
  queue: string
  attempt: number
  maxAttempts: number
  earlierAttempts?: PastAttempt[]
  owner?: string
  createdAt: string
  scheduledAt?: string
  queuedAt?: string
  startedAt?: string
  finishedAt?: string
  runner?: string
  sessionId?: string
  scheduleId?: string
  rerunOf?: string
  runtime?: string
  timeout: number
  resultTtl: number
  batchId?: string
  batchIndex?: number
  metadata?: Record<string, unknown>
  webhook?: { url: string; state: string; attempts: number; lastStatus?: number; lastError?: string }
  cancelRequested?: boolean
  failure?: { code: string; message: string }
  status?: string
  result?: Result
}

export interface JobRequest {
  code?: string
  command?: string
  argv?: string[]
  args?: string[]
  cwd?: string
  stdin?: string
  envNames?: string[]
  runtime?: string
  queue: string
  timeout: number
  maxAttempts: number
  files?: FileOfJob[]
  functions?: string[]
  cases?: number
}

export const states: JobState[] = ['scheduled', 'queued', 'running', 'completed', 'cancelled', 'failed']
export const statuses = ['ok', 'error', 'interrupted', 'exit']
export const isFinal = (s: string): boolean => s === 'completed' || s === 'cancelled' || s === 'failed'

// waits says in words why a job does not run yet.
export function waits(why: string | undefined): string {
  switch (why) {
    case 'session': return 'It waits for earlier executions of its session.'
    case 'key': return 'It waits for other jobs of its API key, which has its share of the runners.'
    case 'slot': return 'All runners that take its queue are busy.'
    case 'runner': return 'No runner takes its queue now. Start one, or look at the fleet.'
    case 'paused': return 'An operator has paused its queue.'
    case 'batch': return 'It is due once its batch has ended.'
  }
  return ''
}

const ms = (time: string | undefined) => (time ? new Date(time).getTime() : NaN)

export interface Step {
  name: string
  at?: string
  took?: number // until the next step, or until now
  open: boolean // it is going on
  words: string
}

// timeline is what became of a job, in order, and how long each part took.
export function timeline(j: Job, now: number): Step[] {
  const end = isFinal(j.state) ? ms(j.finishedAt) : now
  const steps: Step[] = [{ name: 'Accepted', at: j.createdAt, open: j.state === 'scheduled', words: j.scheduledAt ? 'until it was due' : 'recorded' }]
  if (j.queuedAt && j.state !== 'scheduled') steps.push({ name: 'Queued', at: j.queuedAt, open: j.state === 'queued', words: 'waited for a runner' })
  if (j.startedAt && !(j.state === 'queued')) steps.push({ name: 'Claimed', at: j.startedAt, open: j.state === 'running', words: 'ran on a runner' })
  steps.forEach((s, i) => {
    const next = steps[i + 1]
    const until = next ? ms(next.at) : end
    if (!Number.isNaN(until)) s.took = Math.max(0, until - ms(s.at))
  })
  if (j.finishedAt) steps.push({ name: 'Ended', at: j.finishedAt, open: false, words: '' })
  return steps
}

// ran is how long the last attempt of a job ran, or has run so far.
export function ran(j: Job, now: number): number | null {
  if (!j.startedAt || j.state === 'queued' || j.state === 'scheduled') return null
  return Math.max(0, (j.finishedAt ? ms(j.finishedAt) : now) - ms(j.startedAt))
}
