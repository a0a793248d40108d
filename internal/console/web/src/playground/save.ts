import { fetched } from '../api'

// save has the browser keep a file.
export function save(content: Blob, name: string) {
  const url = URL.createObjectURL(content)
  const a = document.createElement('a')
  a.href = url
  a.download = name
  document.body.append(a)
  a.click()
  a.remove()
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}

// contentOf fetches a file with the key, which a link could not bring.
export const contentOf = async (path: string): Promise<Blob> => (await fetched('GET', path)).blob()

export const pathOf = (path: string): string => path.split('/').map(encodeURIComponent).join('/')
