// What one look at a folder finds, without the loop and its events.
#include "watch/manifest_folder.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/text.h"

namespace fairlead::watch {
namespace {

namespace fs = std::filesystem;

std::string service(std::string_view name, int port) {
  return cat("apiVersion: v1\nkind: Service\nmetadata: {name: ", name,
             "}\nspec: {ports: [{port: ", port, "}]}\n");
}

class ManifestFolderTest : public testing::Test {
 protected:
  ManifestFolderTest() {
    char pattern[] = "/tmp/fairlead-folder-XXXXXX";
    root_ = ::mkdtemp(pattern);
    folder_ = std::make_unique<ManifestFolder>(root_, *api::Schema::load(), Duration::zero());
  }
  ~ManifestFolderTest() override { fs::remove_all(root_); }

  std::string path(std::string_view name) const { return cat(root_, '/', name); }
  void write(std::string_view name, std::string_view text) const {
    std::ofstream(path(name)) << text;
  }
  // "a=80 b=81" after one look, or its error.
  std::string look(const FileEvents::Seen& seen = {}) {
    const auto looked = folder_->look(seen);
    if (!looked) return looked.error().message;
    std::vector<std::string> out;
    for (const auto& [change, object] : folder_->objects()) {
      const auto& one = *std::get<std::shared_ptr<const api::Service>>(object);
      out.push_back(cat(one.meta.key.name, '=', one.ports[0].port));
    }
    return join(out, " ");
  }
  std::string errors() const { return join(folder_->errors(), "\n"); }

  std::string root_;
  std::unique_ptr<ManifestFolder> folder_;
};

// Does it until the file system's clock, which moves in steps, gives another time of change.
template <class Act>
void change(const std::string& path, Act act) {
  struct stat before{}, after{};
  ASSERT_EQ(::stat(path.c_str(), &before), 0);
  do {
    act();
    ASSERT_EQ(::stat(path.c_str(), &after), 0);
  } while (after.st_ctim.tv_sec == before.st_ctim.tv_sec &&
           after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
}

// On a thread that root's right to read everything is taken from.
template <class Act>
void as_one_who_is_refused(Act act) {
  std::thread([&] {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[2] = {};
    ASSERT_EQ(::syscall(SYS_capset, &header, none), 0);  // of this thread only
    act();
  }).join();
}

TEST_F(ManifestFolderTest, FileThatMayNotBeReadKeepsItsObjectsUntilItMay) {
  as_one_who_is_refused([&] {
    write("a.yaml", service("a", 80));
    EXPECT_EQ(look(), "a=80");
    write("a.yaml", service("a", 8080));
    ::chmod(path("a.yaml").c_str(), 0);
    EXPECT_EQ(look(), "a=80");
    EXPECT_EQ(errors(), cat(path("a.yaml"), ": Permission denied"));
    // Neither its size nor its time of writing changes.
    change(path("a.yaml"), [&] { ::chmod(path("a.yaml").c_str(), 0600); });
    EXPECT_EQ(look(), "a=8080");
    EXPECT_EQ(errors(), "");
  });
}

TEST_F(ManifestFolderTest, NewContentOfTheSameSizeAndTimeIsSeen) {
  write("a.yaml", service("a", 80));
  EXPECT_EQ(look(), "a=80");
  const auto time = fs::last_write_time(path("a.yaml"));
  change(path("a.yaml"), [&] {
    write("a.yaml", service("a", 81));
    fs::last_write_time(path("a.yaml"), time);  // as rsync -t and cp -p do
  });
  EXPECT_EQ(look(), "a=81");
}

TEST_F(ManifestFolderTest, SecondLookWithoutAChangeReadsNothing) {
  write("a.yaml", service("a", 80));
  EXPECT_TRUE(folder_->look({})->changed);
  EXPECT_FALSE(folder_->look({})->changed);
  EXPECT_TRUE(folder_->look({.writing = {}, .finished = {path("a.yaml")}})->changed)
      << "it was written, whatever its times say";
}

TEST_F(ManifestFolderTest, FolderThatCannotBeListedChangesNothing) {
  fs::create_directory(path("below"));
  write("a.yaml", service("a", 80));
  write("below/b.yaml", service("b", 81));
  EXPECT_EQ(look(), "a=80 b=81");
  as_one_who_is_refused([&] {
    ::chmod(path("below").c_str(), 0);
    EXPECT_EQ(look(), cat(root_, ": Permission denied"));
    EXPECT_EQ(folder_->objects().size(), 2u);
    ::chmod(path("below").c_str(), 0700);
    EXPECT_EQ(look(), "a=80 b=81");
  });
  fs::remove_all(path("below"));
  EXPECT_EQ(look(), "a=80");
}

TEST_F(ManifestFolderTest, RootThatIsAFileIsNoFolder) {
  fs::remove(root_);
  std::ofstream(root_) << service("a", 80);
  EXPECT_EQ(look(), cat(root_, ": no such folder"));
}

TEST_F(ManifestFolderTest, LinksAreReadButFoldersBehindThemAreNotSearched) {
  fs::create_directory(path("real"));
  write("real/a.yaml", service("a", 80));
  fs::create_symlink("real/a.yaml", path("z.yaml"));
  fs::create_symlink("..", path("real/round"));
  fs::create_symlink("nowhere.yaml", path("dead.yaml"));
  EXPECT_EQ(look(), "a=80");
  EXPECT_EQ(errors(), "");
  fs::create_directory(path(".hidden"));
  write(".hidden/b.yaml", service("b", 81));
  write(".c.yaml", service("c", 82));
  write("notes.txt", service("d", 83));
  EXPECT_EQ(look(), "a=80");
}

}  // namespace
}  // namespace fairlead::watch
