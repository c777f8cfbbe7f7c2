#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "feed_fixture.h"

namespace fairlead::watch {
namespace {

namespace fs = std::filesystem;

std::string service(std::string_view name, int port) {
  return cat("apiVersion: v1\nkind: Service\nmetadata: {name: ", name, ", namespace: shop}\n",
             "spec: {ports: [{port: ", port, "}]}\n");
}

class DirectoryFeed : public FeedFixture {
 protected:
  DirectoryFeed() {
    char name[] = "/tmp/fairlead-manifests-XXXXXX";
    dir_ = ::mkdtemp(name);
    options_.rescan = std::chrono::hours(1);  // so that what works, works by events
    options_.settle = std::chrono::milliseconds(60);
  }
  ~DirectoryFeed() override {
    feed_.reset();
    fs::remove_all(dir_);
  }
  void write(const std::string& name, std::string_view text) {
    fs::create_directories(fs::path(dir_ + "/" + name).parent_path());
    std::ofstream(dir_ + "/" + name) << text;
  }
  void start() { feed_ = make_directory_feed(loop_, dir_, options_, log_, sink()); }
  std::string bad() const { return join(feed_->status().bad_objects, "\n"); }

  std::string dir_;
  FeedOptions options_;
};

TEST_F(DirectoryFeed, ReadsEveryManifestBelowTheFolder) {
  write("a.yaml", service("a", 80) + "---\n" + service("b", 81));
  write("more/c.yml", service("c", 82));
  write("more/d.json", R"({"apiVersion": "v1", "kind": "Service", "metadata":
      {"name": "d", "namespace": "shop"}, "spec": {"ports": [{"port": 83}]}})");
  write("readme.txt", "not a manifest");
  write("deployment.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {selector: {}, "
        "template: {}}\n");
  start();
  ASSERT_TRUE(run_until_services("a=80 b=81 c=82 d=83")) << services();
  EXPECT_EQ(ticks_.size(), 1u);
  EXPECT_TRUE(ticks_[0].changes.everything);
  EXPECT_TRUE(feed_->status().synced);
  EXPECT_EQ(feed_->status().source, "directory " + dir_);
  EXPECT_EQ(errors(), "");
}

TEST_F(DirectoryFeed, AnEmptyFolderIsATick) {
  start();
  ASSERT_TRUE(run_until_services(""));
  EXPECT_TRUE(ticks_[0].changes.everything);
}

TEST_F(DirectoryFeed, FollowsChanges) {
  write("a.yaml", service("a", 80));
  start();
  ASSERT_TRUE(run_until_services("a=80"));
  write("b.yaml", service("b", 80));
  ASSERT_TRUE(run_until_services("a=80 b=80")) << services();
  write("a.yaml", service("a", 90));
  ASSERT_TRUE(run_until_services("a=90 b=80")) << services();
  EXPECT_EQ(ticks_.back().changes.services, (std::set<api::ObjectKey>{{"shop", "a"}}));
  fs::remove(dir_ + "/b.yaml");
  ASSERT_TRUE(run_until_services("a=90")) << services();
  fs::rename(dir_ + "/a.yaml", dir_ + "/a.off");
  ASSERT_TRUE(run_until_services("")) << services();
  fs::rename(dir_ + "/a.off", dir_ + "/z.yaml");
  ASSERT_TRUE(run_until_services("a=90")) << services();
}

TEST_F(DirectoryFeed, FollowsNewFolders) {
  start();
  ASSERT_TRUE(run_until_services(""));
  write("x/y/a.yaml", service("a", 80));
  ASSERT_TRUE(run_until_services("a=80")) << services();
  write("x/y/b.yaml", service("b", 80));
  ASSERT_TRUE(run_until_services("a=80 b=80")) << services();
  fs::remove_all(dir_ + "/x");
  ASSERT_TRUE(run_until_services("")) << services();
}

TEST_F(DirectoryFeed, FollowsAMountedConfigMap) {
  // Files are links through ..data, which is swapped in one step.
  write("..v1/a.yaml", service("a", 80));
  fs::create_symlink("..v1", dir_ + "/..data");
  fs::create_symlink("..data/a.yaml", dir_ + "/a.yaml");
  start();
  ASSERT_TRUE(run_until_services("a=80")) << services();
  write("..v2/a.yaml", service("a", 81));
  fs::create_symlink("..v2", dir_ + "/..tmp");
  fs::rename(dir_ + "/..tmp", dir_ + "/..data");
  ASSERT_TRUE(run_until_services("a=81")) << services();
}

TEST_F(DirectoryFeed, ABrokenFileKeepsItsLastGoodObjects) {
  write("a.yaml", service("a", 80) + "---\n" + service("b", 80));
  write("c.yaml", service("c", 80));
  start();
  ASSERT_TRUE(run_until_services("a=80 b=80 c=80"));
  write("a.yaml", service("a", 81) + "---\nkind: [\n");
  ASSERT_TRUE(run_until_error(dir_ + "/a.yaml:7: end of sequence flow not found")) << errors();
  write("c.yaml", service("c", 81));
  ASSERT_TRUE(run_until_services("a=80 b=80 c=81")) << services();
  write("a.yaml", service("a", 82));
  ASSERT_TRUE(run_until_services("a=82 c=81")) << services();
  EXPECT_EQ(errors(), "");
}

TEST_F(DirectoryFeed, ABadObjectKeepsItsLastGoodVersion) {
  write("a.yaml", service("a", 80) + "---\n" + service("b", 80));
  start();
  ASSERT_TRUE(run_until_services("a=80 b=80"));
  write("a.yaml", service("a", 70000) + "---\n" + service("b", 81));
  ASSERT_TRUE(run_until_services("a=80 b=81")) << services();
  EXPECT_EQ(bad(),
            dir_ + "/a.yaml:4: Service shop/a: spec.ports[0].port: 70000 is not in 1..65535");
  EXPECT_EQ(errors(), "");
  write("a.yaml", service("b", 82));
  ASSERT_TRUE(run_until_services("b=82")) << services();
  EXPECT_EQ(bad(), "");
}

TEST_F(DirectoryFeed, NamesUnknownFields) {
  write("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  prots: []\n---\n" +
                      service("b", 80));
  start();
  ASSERT_TRUE(run_until_services("b=80"));
  EXPECT_EQ(bad(), dir_ + "/a.yaml:5: Service default/a: unknown field \"spec.prots\"");
}

TEST_F(DirectoryFeed, AFileThatIsBeingWrittenKeepsWhatItHad) {
  write("a.yaml", service("a", 80) + "---\n" + service("b", 80));
  start();
  ASSERT_TRUE(run_until_services("a=80 b=80"));
  std::ofstream file(dir_ + "/a.yaml");  // truncates
  file << service("a", 81) << std::flush;
  run_for(std::chrono::milliseconds(40));
  EXPECT_EQ(services(), "a=80 b=80");
  file << "---\n" << service("b", 81);
  file.close();
  ASSERT_TRUE(run_until_services("a=81 b=81")) << services();
  for (const Tick& tick : ticks_) EXPECT_NE(tick.services, "a=81");
}

TEST_F(DirectoryFeed, AFileThatStaysOpenIsReadWhenItHasSettled) {
  start();
  ASSERT_TRUE(run_until_services(""));
  std::ofstream file(dir_ + "/a.yaml");
  file << service("a", 81) << std::flush;
  ASSERT_TRUE(run_until_services("a=81"));
}

TEST_F(DirectoryFeed, SurvivesFilesThatComeAndGo) {
  write("keep.yaml", service("keep", 80));
  start();
  ASSERT_TRUE(run_until_services("keep=80"));
  for (int i = 0; i < 50; ++i) {
    write("flicker.yaml", service("f", 1 + i));
    loop_.run_once(std::chrono::milliseconds(1));
    fs::remove(dir_ + "/flicker.yaml");
    loop_.run_once(std::chrono::milliseconds(1));
  }
  ASSERT_TRUE(run_until_services("keep=80"));
  for (const Tick& tick : ticks_) EXPECT_NE(tick.services.find("keep=80"), std::string::npos);
}

TEST_F(DirectoryFeed, TheLaterPathCountsWhenTwoFilesHaveTheSameObject) {
  write("1.yaml", service("a", 1));
  write("2.yaml", service("a", 2));
  start();
  ASSERT_TRUE(run_until_services("a=2"));
  fs::remove(dir_ + "/2.yaml");
  ASSERT_TRUE(run_until_services("a=1")) << services();
}

TEST_F(DirectoryFeed, WaitsForAFolderThatIsNotThere) {
  const std::string wanted = dir_ + "/later";
  options_.rescan = std::chrono::milliseconds(30);
  feed_ = make_directory_feed(loop_, wanted + "/", options_, log_, sink());
  ASSERT_TRUE(run_until_error(wanted + ": no such folder")) << errors();
  EXPECT_TRUE(ticks_.empty());
  EXPECT_FALSE(feed_->status().synced);
  write("later/a.yaml", service("a", 80));
  ASSERT_TRUE(run_until_services("a=80"));
  EXPECT_EQ(errors(), "");
  // Nor is its removal taken for the removal of everything.
  fs::remove_all(wanted);
  ASSERT_TRUE(run_until_error(": no such folder"));
  EXPECT_EQ(services(), "a=80");
}

TEST_F(DirectoryFeed, FindsChangesWithoutEventsToo) {
  options_.rescan = std::chrono::milliseconds(30);
  write("target.txt", service("a", 80));
  fs::create_directory(dir_ + "/sub");
  fs::create_symlink(dir_ + "/target.txt", dir_ + "/sub/a.yaml");
  start();
  ASSERT_TRUE(run_until_services("a=80"));
  write("target.txt", service("a", 8080));
  ASSERT_TRUE(run_until_services("a=8080")) << services();
}

TEST_F(DirectoryFeed, RefusesWhatIsNoRegularFile) {
  ASSERT_EQ(::mkfifo((dir_ + "/pipe.yaml").c_str(), 0600), 0);
  write("a.yaml", service("a", 80));
  start();
  ASSERT_TRUE(run_until_services("a=80"));
}

TEST_F(DirectoryFeed, DeliversOnlyTheKindsAskedFor) {
  write("a.yaml", service("a", 80) + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n");
  options_.kinds = {api::Kind::namespace_};
  start();
  ASSERT_TRUE(run_until([&] { return !ticks_.empty(); }));
  EXPECT_EQ(ticks_[0].snapshot->count(api::Kind::namespace_), 1u);
  EXPECT_EQ(ticks_[0].services, "");
}

}  // namespace
}  // namespace fairlead::watch
