import { computed, effect, signal } from '@preact/signals'

export type Theme = 'system' | 'light' | 'dark'
const stored = 'kaa.theme'
const system = matchMedia('(prefers-color-scheme: dark)')
const systemDark = signal(system.matches)
system.addEventListener('change', (e) => { systemDark.value = e.matches })

export const theme = signal<Theme>((localStorage.getItem(stored) as Theme | null) ?? 'system')
export const dark = computed(() => theme.value === 'dark' || theme.value === 'system' && systemDark.value)

// applyTheme keeps the document in the theme that is chosen.
export function applyTheme() {
  effect(() => {
    document.documentElement.dataset.theme = dark.value ? 'dark' : 'light'
    if (theme.value === 'system') localStorage.removeItem(stored)
    else localStorage.setItem(stored, theme.value)
  })
}

export function nextTheme() {
  theme.value = dark.value ? 'light' : 'dark'
}
