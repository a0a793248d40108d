import { route } from '../router'
import { JobPage } from './job'
import { JobList } from './list'

export default function Jobs() {
  const id = route.value.rest[0]
  return id ? <JobPage key={id} id={id} /> : <JobList />
}
